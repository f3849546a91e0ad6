/** The hello that opens every stream between members: servers of different groups must never exchange Raft messages. */
import type { RaftHello } from "../../proto/generated/raft.ts";
import type { RefusalKind } from "../../proto/refusals.ts";

/** Of the messages on the wire. 2: the configuration is in the log. 3: so is the volume's feature level. */
const FORMAT = 3;

/** Refusal by a server that is starting or stopping. */
export const NOT_RUNNING = "not running";

/** The identity of a member to its peers. */
export interface PeerIdentity {
  readonly volume: string;
  readonly region: string;
  readonly self: number;
  /** host:port, for a peer that does not have this member in its configuration yet. */
  readonly address: string;
  /** The volume's uuid; "" until the first command, which sets it, is applied. */
  readonly cluster: () => string;
  /** Random, for each start of the process. */
  readonly life: number;
  /** The highest feature level of entries that this member's machine can apply. */
  readonly supports: number;
  /** The level that the state of this member's machine is at: a peer must support it. */
  readonly required: () => number;
}

/** Why two servers do not belong to one group, as a line for the operator. */
export interface Mismatch {
  readonly kind: RefusalKind;
  readonly line: string;
}

export function makeHello(identity: PeerIdentity, to: number): RaftHello {
  const { volume, region, self: from, address, life, supports } = identity;
  return { format: FORMAT, volume, region, cluster: identity.cluster(), from, to, address, life, supports };
}

/**
 * Does not check that the sender is in the configuration: it may have been added by entries not yet received here, so the
 * core decides.
 * @returns undefined when both belong to one group
 */
export function mismatchOf(identity: PeerIdentity, hello: RaftHello): Mismatch | undefined {
  const { volume, region, self } = identity;
  const cluster = identity.cluster();
  if (hello.format !== FORMAT)
    return { kind: "format", line: `speaks raft format ${hello.format}, expected ${FORMAT}` };
  if (hello.volume !== volume) return { kind: "volume", line: `belongs to volume ${hello.volume}, expected ${volume}` };
  if (hello.region !== region) return { kind: "region", line: `belongs to region ${hello.region}, expected ${region}` };
  if (hello.to !== self) return { kind: "member", line: `looks for member ${hello.to}, this is member ${self}` };
  if (hello.from === self || hello.from === 0)
    return { kind: "member", line: `claims to be member ${hello.from}, which cannot be a peer of member ${self}` };
  if (hello.cluster !== "" && cluster !== "" && hello.cluster !== cluster)
    return { kind: "volume", line: `belongs to the volume with uuid ${hello.cluster}, expected ${cluster}` };
  const level = identity.required();
  if (hello.supports < level)
    return {
      kind: "features",
      line: `supports feature level ${hello.supports}, and the volume is at ${level}: start a newer program there`,
    };
  return undefined;
}
