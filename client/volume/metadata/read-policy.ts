import type { Interruptible } from "../../../base/waiting.ts";
import { compareVersions, NO_VERSION, type Version } from "../../../core/ids.ts";
import { Freshness } from "../../../proto/generated/metadata.ts";

export type Consistency = "close-to-open" | "session" | "bounded";

/**
 * `committed`: no older than the primary's commit when the read is sent. `token`: no older than `atLeast`, and than
 * what this client has seen.
 */
export type ReadFreshness = "committed" | "token";

export interface ReadOptions {
  readonly freshness: ReadFreshness;
  /** A version that the read must not be older than, besides the client's own token. */
  readonly atLeast?: Version;
  readonly interrupt?: Interruptible;
}

/** What a server is asked for: the primary's state at the time of the request, or one no older than a version. */
export interface RequiredFreshness {
  readonly freshness: Freshness;
  readonly atLeast: Version | undefined;
}

/** How new a read must be, by the mount's consistency and by what this client has seen. */
export class ReadPolicy {
  readonly #consistency: Consistency;
  readonly #maxStalenessMs: number;
  #seen: Version = NO_VERSION;
  /**
   * When the last read was sent that saw the primary's commit (performance.now): `bounded` measures staleness from it.
   */
  #committedMs = Number.NEGATIVE_INFINITY;

  constructor(options: { readonly consistency: Consistency; readonly maxStalenessMs: number }) {
    this.#consistency = options.consistency;
    this.#maxStalenessMs = options.maxStalenessMs;
  }

  /** The newest version that an answer was given at: the client's token. No read may be older. */
  get seen(): Version {
    return this.#seen;
  }

  noteSeen(version: Version): void {
    if (compareVersions(version, this.#seen) > 0) this.#seen = version;
  }

  /** A read that was sent at `sentMs` saw what the primary had committed by then. */
  noteCommitted(sentMs: number): void {
    this.#committedMs = sentMs;
  }

  required({ freshness, atLeast }: ReadOptions, nowMs: number): RequiredFreshness {
    const token = atLeast !== undefined && compareVersions(atLeast, this.#seen) > 0 ? atLeast : this.#seen;
    return {
      freshness: this.#mayUseToken(freshness, nowMs) ? Freshness.TOKEN : Freshness.COMMITTED,
      atLeast: token.sequence === 0 ? undefined : token,
    };
  }

  #mayUseToken(freshness: ReadFreshness, nowMs: number): boolean {
    if (freshness === "token" || this.#consistency === "session") return true;
    return this.#consistency === "bounded" && nowMs - this.#committedMs <= this.#maxStalenessMs;
  }
}
