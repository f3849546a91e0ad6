import type { Version } from "../../core/ids.ts";
import type { Completion, Invocation } from "./checks/directory-model.ts";

/**
 * How an answer was to be had.
 * - `primary`: a change. `committed`: a read as of what the primary had committed when it was asked, in either region.
 * - `token`: a read at least as new as all that its session has seen.
 */
export type Freshness = "primary" | "committed" | "token";

/** An operation of a client, from its call to its answer. */
export interface RecordedOperation {
  readonly client: string;
  readonly directory: number;
  readonly invocation: Invocation;
  readonly freshness: Freshness;
  readonly invokedAt: number;
  readonly invokedMs: number;
  /** What its session had seen when it asked. */
  readonly token: Version;
  /** Under which its change is known to the volume: a session and a number in it. More than one session, if one was lost. */
  readonly sessions: Set<number>;
  readonly number: number;
  completedAt: number;
  completedMs: number;
  /** Undefined: nobody knows. */
  completion: Completion | undefined;
  version: Version | undefined;
  /** A mirror could not ask the primary, and said so. */
  isSuspended: boolean;
}

/** What clients did and were told, in one order. */
export class History {
  readonly operations: RecordedOperation[] = [];
  #tick = 0;

  /** Later than every moment before. */
  tick(): number {
    return ++this.#tick;
  }

  get completed(): number {
    return this.operations.filter(({ completion }) => completion !== undefined).length;
  }
}
