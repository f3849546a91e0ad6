import type { RaftHello } from "../../proto/generated/raft.ts";

/** 2: the members are in the log. */
const FORMAT = 2;

/** Who a member is to its peers. */
export interface PeerIdentity {
  readonly volume: string;
  readonly region: string;
  readonly self: number;
  /** host:port, for whoever does not know this member yet. */
  readonly address: string;
  /** The volume's uuid, or "" as long as it is not known: it comes with the first command. */
  readonly cluster: () => string;
}

export function makeHello(identity: PeerIdentity, to: number): RaftHello {
  const { volume, region, self: from, address } = identity;
  return { format: FORMAT, volume, region, cluster: identity.cluster(), from, to, address };
}

/**
 * Whether the sender is a member is Raft's to judge: one that was added by entries that are still to come is not known yet.
 * @returns why these two do not belong to one group, as a line for a person; undefined: they do
 */
export function refusalOf(identity: PeerIdentity, hello: RaftHello): string | undefined {
  const { volume, region, self } = identity;
  const cluster = identity.cluster();
  if (hello.format !== FORMAT) return `speaks raft format ${hello.format}, here it is ${FORMAT}`;
  if (hello.volume !== volume) return `belongs to volume ${hello.volume}, here it is ${volume}`;
  if (hello.region !== region) return `belongs to region ${hello.region}, here it is ${region}`;
  if (hello.to !== self) return `looks for member ${hello.to}, here it is ${self}`;
  if (hello.from === self || hello.from === 0) return `calls itself member ${hello.from}, which is no peer of ${self}`;
  if (hello.cluster !== "" && cluster !== "" && hello.cluster !== cluster)
    return `belongs to the volume with uuid ${hello.cluster}, here it is ${cluster}`;
  return undefined;
}
