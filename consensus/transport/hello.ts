import type { RaftHello } from "../../proto/generated/raft.ts";
import type { RefusalKind } from "../../proto/refusals.ts";

/** 2: the members are in the log. */
const FORMAT = 2;

/** Said by a server that is starting or stopping. */
export const NOT_RUNNING = "not running";

/** Who a member is to its peers. */
export interface PeerIdentity {
  readonly volume: string;
  readonly region: string;
  readonly self: number;
  /** host:port, for whoever does not know this member yet. */
  readonly address: string;
  /** The volume's uuid, or "" as long as it is not known: it comes with the first command. */
  readonly cluster: () => string;
  readonly life: number;
}

/** Why two do not belong together, as a line for a person. */
export interface Mismatch {
  readonly kind: RefusalKind;
  readonly line: string;
}

export function makeHello(identity: PeerIdentity, to: number): RaftHello {
  const { volume, region, self: from, address, life } = identity;
  return { format: FORMAT, volume, region, cluster: identity.cluster(), from, to, address, life };
}

/**
 * Whether the sender is a member is Raft's to judge: one that was added by entries that are still to come is not known yet.
 * @returns undefined when these two belong to one group
 */
export function mismatchOf(identity: PeerIdentity, hello: RaftHello): Mismatch | undefined {
  const { volume, region, self } = identity;
  const cluster = identity.cluster();
  if (hello.format !== FORMAT)
    return { kind: "format", line: `speaks raft format ${hello.format}, here it is ${FORMAT}` };
  if (hello.volume !== volume)
    return { kind: "volume", line: `belongs to volume ${hello.volume}, here it is ${volume}` };
  if (hello.region !== region)
    return { kind: "region", line: `belongs to region ${hello.region}, here it is ${region}` };
  if (hello.to !== self) return { kind: "member", line: `looks for member ${hello.to}, here it is ${self}` };
  if (hello.from === self || hello.from === 0)
    return { kind: "member", line: `calls itself member ${hello.from}, which is no peer of ${self}` };
  if (hello.cluster !== "" && cluster !== "" && hello.cluster !== cluster)
    return { kind: "volume", line: `belongs to the volume with uuid ${hello.cluster}, here it is ${cluster}` };
  return undefined;
}
