import type { Logger } from "pino";

/** What a peer may have done that no member of this group does (a client: that none of ours does). */
export type RefusalKind =
  /** A hello of another volume, region, member or format. */
  | "volume"
  | "region"
  | "member"
  | "format"
  /** A frame that no member sends, or that is too large. */
  | "malformed"
  | "oversized"
  /** A term so far ahead that no election leads there. */
  | "term"
  /** What contradicts this term's leader, or what is committed here. */
  | "impossible"
  /** A snapshot that cannot be read. */
  | "snapshot";

const LOGGED_EVERY_MS = 10_000;

/** Counts what was refused. A line at the first of a kind, then at most one in ten seconds: a peer that goes on fills no disk. */
export class Refusals {
  readonly #logger: Logger;
  readonly #what: string;
  readonly #counts = new Map<RefusalKind, number>();
  readonly #loggedMs = new Map<RefusalKind, number>();

  /** `what`: how a line begins. */
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
