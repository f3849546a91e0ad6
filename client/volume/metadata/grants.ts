import { singleFlight } from "../../../base/waiting.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { SliceId } from "../../../core/ids.ts";
import type { ClientSession } from "./client-session.ts";

const GRANT_COUNT = 1024;
const PREFETCH_BELOW = 256;

/**
 * Slice ids from ranges that were granted to this session. The next range is fetched before the last one is used up.
 */
export class SliceGrants {
  readonly #session: ClientSession;
  #ranges: { first: number; count: number }[] = [];
  #generation = 0;
  readonly #more = singleFlight(() => this.#fetch());

  constructor(session: ClientSession) {
    this.#session = session;
  }

  async take(): Promise<SliceId | ErrnoCode> {
    while (this.#left === 0) {
      const error = await this.#more();
      if (error !== undefined) return error;
    }
    const range = this.#ranges[0]!;
    const id = range.first as SliceId;
    range.first += 1;
    range.count -= 1;
    if (range.count === 0) this.#ranges.shift();
    if (this.#left < PREFETCH_BELOW) void this.#more();
    return id;
  }

  /** Drops the granted ids: the session has expired, or the grants were lost with a fork. */
  drop(): void {
    this.#ranges = [];
    this.#generation += 1;
  }

  get #left(): number {
    return this.#ranges.reduce((sum, range) => sum + range.count, 0);
  }

  async #fetch(): Promise<ErrnoCode | undefined> {
    const generation = this.#generation;
    const done = await this.#session.mutate({ kind: "grantSlices", count: GRANT_COUNT });
    if (typeof done === "string") return done;
    const { grant } = done.outcome;
    if (grant === undefined) return "EIO";
    if (generation === this.#generation) this.#ranges.push({ first: grant.first, count: grant.count });
    return undefined;
  }
}
