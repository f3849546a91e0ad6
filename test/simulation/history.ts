import type { Version } from "../../core/ids.ts";
import type { Asked, Came } from "./checks/directory-model.ts";

/**
 * How an answer was to be had.
 * - `primary`: a change. `committed`: a read as of what the primary had committed when it was asked, in either region.
 * - `token`: a read at least as new as all that its session has seen.
 */
export type Freshness = "primary" | "committed" | "token";

/** An operation of a client, from its call to its answer. */
export interface Recorded {
  readonly client: string;
  readonly directory: number;
  readonly asked: Asked;
  readonly freshness: Freshness;
  readonly calledAt: number;
  readonly calledMs: number;
  /** What its session had seen when it asked. */
  readonly token: Version;
  /** Under which its change is known to the volume: a session and a number in it. More than one session, if one was lost. */
  readonly sessions: Set<number>;
  readonly number: number;
  answeredAt: number;
  answeredMs: number;
  /** Undefined: nobody knows. */
  came: Came | undefined;
  version: Version | undefined;
  /** A mirror could not ask the primary, and said so. */
  isSuspended: boolean;
}

/** What clients did and were told, in one order. */
export class History {
  readonly recorded: Recorded[] = [];
  #moment = 0;

  /** Later than every moment before. */
  moment(): number {
    return ++this.#moment;
  }

  get answered(): number {
    return this.recorded.filter(({ came }) => came !== undefined).length;
  }
}
