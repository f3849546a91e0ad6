import type { Logger } from "pino";

/** How a member ends its refusal (UNAVAILABLE) of a call for the leader alone: nothing of the call was carried out. */
export const NOT_THE_LEADER = "is not the leader";

/** Why a peer, or a client, was refused: something that no correct one does. */
export type RefusalKind =
  /** A hello of another volume, region, member or format. */
  | "volume"
  | "region"
  | "member"
  | "format"
  /** A peer that does not know the feature level of the volume. */
  | "features"
  /** A frame that cannot be decoded or is not valid here, or that is too large. */
  | "malformed"
  | "oversized"
  /** A term too far ahead to be reached by elections. */
  | "term"
  /** A message that contradicts this term's leader, or what is committed here. */
  | "impossible"
  /** An invalid snapshot. */
  | "snapshot";

const LOGGED_EVERY_MS = 10_000;

/** Counts refusals by kind, and logs at most one of each kind every ten seconds, so that a bad peer cannot fill the disk. */
export class Refusals {
  readonly #logger: Logger;
  readonly #what: string;
  readonly #counts = new Map<RefusalKind, number>();
  readonly #loggedMs = new Map<RefusalKind, number>();

  /** @param what how a log line begins. */
  constructor(logger: Logger, what = "raft: refused a peer") {
    this.#logger = logger;
    this.#what = what;
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  note(kind: RefusalKind, peer: string | number, line: string): void {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const nowMs = performance.now();
    if (nowMs - (this.#loggedMs.get(kind) ?? Number.NEGATIVE_INFINITY) < LOGGED_EVERY_MS) return;
    this.#loggedMs.set(kind, nowMs);
    this.#logger.warn({ peer, kind, count }, `${this.#what}: ${line}`);
  }
}
