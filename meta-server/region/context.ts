import type { Logger } from "pino";
import type { VolumeDescription } from "../../config/volume-description.ts";
import type { Group } from "../../consensus/group.ts";
import type { Machine, Role } from "../machine/machine.ts";
import type { Proposer } from "./proposer.ts";

/** A life is one run of one server process, known by a random number that is drawn at its start. */
export interface Lives {
  readonly own: number;
  /** Those of the other members that are connected, by member. */
  readonly heard: ReadonlyMap<number, number>;
}

/** What every role and service of one server works on. */
export interface ServerContext {
  readonly volume: VolumeDescription;
  readonly region: string;
  readonly member: number;
  readonly group: Group;
  readonly machine: Machine;
  readonly proposer: Proposer;
  readonly lives: Lives;
  readonly logger: Logger;
  /** The highest feature level that this server knows. */
  readonly supports: number;
  /**
   * Whether this server leads the primary's group and its epoch is current as far as it can know. Only then it changes the
   * volume.
   */
  readonly isServing: () => boolean;
}

/** What the region says of itself to others: its role, or that it diverged, or is a primary that waits for clearance. */
export function confirmedState({ machine, isServing }: ServerContext): Role | "diverged" | "waiting" {
  return machine.state === "primary" && !isServing() ? "waiting" : machine.state;
}

/** host:port of this region's leader; empty if none is known. */
export function leaderAddress({ group }: ServerContext): string {
  const { leader, members } = group.status();
  return members.find(({ id }) => id === leader)?.address ?? "";
}
