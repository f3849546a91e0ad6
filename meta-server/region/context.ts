import type { Logger } from "pino";
import type { VolumeDescription } from "../../config/volume-description.ts";
import type { Group } from "../../consensus/group.ts";
import type { Machine } from "../machine/machine.ts";
import type { Proposer } from "./proposer.ts";

/** What every service of one server works on. */
export interface ServerContext {
  readonly volume: VolumeDescription;
  readonly region: string;
  readonly member: number;
  readonly group: Group;
  readonly machine: Machine;
  readonly proposer: Proposer;
  readonly logger: Logger;
  /** Whether this is the leader of the primary, and its epoch lasts as far as it can know: only then it changes the volume. */
  readonly isServing: () => boolean;
}

/** host:port of this region's leader, empty when none is known. */
export function leaderAddress({ group }: ServerContext): string {
  const { leader, members } = group.status();
  return members.find(({ id }) => id === leader)?.address ?? "";
}
