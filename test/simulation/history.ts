import { compareVersions, type Version } from "../../core/ids.ts";
import type { Completion, Invocation } from "./checks/tree-model.ts";
import { show } from "./checks/volume-checker.ts";

/**
 * - `primary`: a change.
 * - `committed`: a read, in either region, of at least what the primary had committed at its invocation.
 * - `token`: a read of at least what its session has seen.
 */
export type Freshness = "primary" | "committed" | "token";

/** A client's operation, from its invocation to its completion. */
export interface RecordedOperation {
  readonly client: string;
  readonly directory: number;
  readonly invocation: Invocation;
  readonly freshness: Freshness;
  readonly invokedAt: number;
  readonly invokedMs: number;
  /** What its session had seen at the invocation. */
  readonly token: Version;
  /**
   * With `number`, identifies a change on the changelog. More than one if a session was lost and the change repeated
   * in the next.
   */
  readonly sessions: Set<number>;
  /** 0 until it is sent. */
  number: number;
  /** Of a read through a descriptor: the session that the file is open in, and the version at which it was opened. */
  readonly opened: { readonly session: number; readonly version: Version } | undefined;
  completedAt: number;
  completedMs: number;
  /** Undefined: pending or indeterminate. */
  completion: Completion | undefined;
  version: Version | undefined;
  /** The mirror reported that it could not reach the primary. */
  isSuspended: boolean;
  /** Of a read: the region whose server answered. */
  answeredBy: string | undefined;
}

/** The operations of all clients, on one logical clock. */
export class History {
  readonly operations: RecordedOperation[] = [];
  #tick = 0;

  /** A logical time later than every one before. */
  tick(): number {
    return ++this.#tick;
  }

  get completed(): number {
    return this.operations.filter(({ completion }) => completion !== undefined).length;
  }
}

/** One line for the transcript and for a violation's message. */
export function describe({ invocation, completion, version, freshness, token }: RecordedOperation): string {
  const at = version === undefined ? "" : ` at ${show(version)}`;
  const behind = version !== undefined && compareVersions(version, token) < 0 ? " (older than its token)" : "";
  return `${freshness} ${JSON.stringify(invocation)} → ${completion === undefined ? "?" : JSON.stringify(completion)}${at}${behind}`;
}
