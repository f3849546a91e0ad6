import pLimit from "p-limit";
import { backoffMs, pause } from "../base/waiting.ts";
import type { Slice } from "../core/commands.ts";
import type { RegionIndex } from "../core/ids.ts";
import { type ObjectStore, ObjectStoreError } from "../object-store/object-store.ts";
import type { Budget } from "./budget.ts";
import type { Blame } from "./plan.ts";
import { isPathFailure, messageOf, type Reachability } from "./reachability.ts";
import { type Block, blocksOf, stored, verifyBody } from "./verify.ts";

export interface CopierOptions {
  readonly volume: string;
  readonly own: RegionIndex;
  /** The bucket of every region. */
  readonly stores: ReadonlyMap<RegionIndex, ObjectStore>;
  readonly reachability: Reachability;
  readonly budget: Budget;
  /** For one block, with all retries. */
  readonly blockTimeoutMs?: number;
  /** Attempts of a request that failed with a retryable error. */
  readonly tries?: number;
}

export type CopyOutcome =
  | { readonly resident: true; readonly copiedBlocks: number; readonly copiedBytes: number }
  | { readonly resident: false; readonly blame: Blame; readonly reason: string };

/** Most blocks of one slice in flight: a large slice leaves room for others. */
const BLOCKS_OF_ONE_SLICE = 8;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2_000;

/** Copies slices into the own bucket and verifies them. Runs any number at once, within the budget. */
export class Copier {
  readonly #volume: string;
  readonly #ownRegion: RegionIndex;
  readonly #own: ObjectStore;
  readonly #stores: ReadonlyMap<RegionIndex, ObjectStore>;
  readonly #reachability: Reachability;
  readonly #budget: Budget;
  readonly #blockTimeoutMs: number;
  readonly #tries: number;

  constructor(options: CopierOptions) {
    this.#volume = options.volume;
    this.#ownRegion = options.own;
    this.#own = options.stores.get(options.own)!;
    this.#stores = options.stores;
    this.#reachability = options.reachability;
    this.#budget = options.budget;
    this.#blockTimeoutMs = options.blockTimeoutMs ?? 60_000;
    this.#tries = options.tries ?? 3;
  }

  /** Whether a slice with this home can be fetched now. */
  canFetch(home: RegionIndex): boolean {
    return this.#reachability.reachable(this.#ownRegion) && this.#sources(home).length > 0;
  }

  /**
   * Copies the blocks of a slice that the own bucket lacks. `resident` means that every block is there and verified: the
   * service checked our checksum when it stored the block, or states the same checksum now.
   * @param check look for each block in the own bucket before copying it.
   */
  async copy(slice: Slice, how: { check: boolean; urgent: boolean; signal: AbortSignal }): Promise<CopyOutcome> {
    const limit = pLimit(BLOCKS_OF_ONE_SLICE);
    const blocks = blocksOf(this.#volume, slice);
    // All blocks, even when one fails: readers find the others here, and the next attempt has less to do.
    const results = await Promise.allSettled(
      blocks.map((block) => limit(() => this.#copyBlock(block, slice.home, how))),
    );
    let copiedBlocks = 0;
    let copiedBytes = 0;
    let failure: unknown;
    for (const [index, result] of results.entries()) {
      if (result.status === "rejected") failure ??= result.reason;
      else if (result.value === "created") {
        copiedBlocks++;
        copiedBytes += blocks[index]!.bytes;
      }
    }
    if (failure === undefined) return { resident: true, copiedBlocks, copiedBytes };
    return { resident: false, blame: isPathFailure(failure) ? "path" : "slice", reason: messageOf(failure) };
  }

  #copyBlock(
    block: Block,
    home: RegionIndex,
    how: { check: boolean; urgent: boolean; signal: AbortSignal },
  ): Promise<"created" | "exists"> {
    return this.#budget.use({ bytes: block.bytes, ...how }, async () => {
      const timeout = AbortSignal.timeout(this.#blockTimeoutMs);
      const signal = AbortSignal.any([how.signal, timeout]);
      try {
        // A store that ignores its signal must not occupy a worker for ever.
        return await Promise.race([this.#copyVerified(block, home, how.check, signal), rejection(signal)]);
      } catch (error) {
        if (!timeout.aborted || how.signal.aborted) throw error;
        throw new ObjectStoreError("timeout", `${block.key}: not copied in ${this.#blockTimeoutMs} ms`, {
          cause: error,
        });
      }
    });
  }

  async #copyVerified(
    block: Block,
    home: RegionIndex,
    check: boolean,
    signal: AbortSignal,
  ): Promise<"created" | "exists"> {
    let wrong = false;
    if (check) {
      const found = await this.#at(this.#ownRegion, () => stored(this.#own, block, signal), signal);
      if (found === "same") return "exists";
      wrong = found === "other";
    }
    const sources = this.#sources(home);
    let failure: unknown;
    for (const source of sources) {
      try {
        return await this.#copyFrom(source, block, wrong, signal);
      } catch (error) {
        if (error instanceof TargetError || signal.aborted) throw error;
        // A bucket that could not be read outweighs one that lacks the block: waiting may help.
        if (failure === undefined || isPathFailure(error)) failure = error;
      }
    }
    // While a bucket that may have the block is out of reach, the slice is not at fault.
    if (failure !== undefined && (isPathFailure(failure) || sources.length === this.#candidates(home).length))
      throw failure;
    throw new ObjectStoreError("unavailable", `${block.key}: a bucket that may have it does not answer`, {
      cause: failure,
    });
  }

  async #copyFrom(source: RegionIndex, block: Block, wrong: boolean, signal: AbortSignal) {
    const store = this.#stores.get(source)!;
    const copied = wrong ? undefined : await this.#copyInside(store, block, signal);
    if (copied !== undefined) return copied;
    const body = await this.#at(
      source,
      async () => {
        const read = await store.read(block.key, { signal });
        verifyBody(block, read, store);
        return read;
      },
      signal,
    );
    try {
      return await this.#store(block, body, signal);
    } catch (error) {
      throw signal.aborted ? error : new TargetError(error);
    }
  }

  /** Copies inside the service, which verifies the copy; the bytes do not pass through here. `undefined`: read and write instead. */
  async #copyInside(store: ObjectStore, block: Block, signal: AbortSignal) {
    try {
      return await this.#own.copyFrom?.(store, block.key, { crc32c: block.crc32c, bytes: block.bytes, signal });
    } catch (error) {
      // These are about the source's block. For any other error, reading and writing shows which bucket is at fault.
      const code = error instanceof ObjectStoreError ? error.code : undefined;
      if (code === "notFound" || code === "corrupt" || signal.aborted) throw error;
      return undefined;
    }
  }

  /** Stores a verified body; it replaces a wrong object of that name in the own bucket. */
  async #store(block: Block, body: Uint8Array, signal: AbortSignal): Promise<"created" | "exists"> {
    const create = () => this.#own.create(block.key, body, { crc32c: block.crc32c, signal });
    try {
      return await this.#at(this.#ownRegion, create, signal);
    } catch (error) {
      // `corrupt`: the stored object is broken, or our upload was damaged in transit.
      if (!(error instanceof ObjectStoreError) || (error.code !== "conflict" && error.code !== "corrupt")) throw error;
      const found = await stored(this.#own, block, signal);
      if (found === "same") return "exists";
      if (found === "absent") throw error;
      await this.#own.delete(block.key, { signal });
      return await this.#at(this.#ownRegion, create, signal);
    }
  }

  #sources(home: RegionIndex): RegionIndex[] {
    return this.#candidates(home).filter((region) => this.#reachability.reachable(region));
  }

  /** The regions that may have a block: its home first, then all others except our own. */
  #candidates(home: RegionIndex): RegionIndex[] {
    const others = [...this.#stores.keys()].filter((region) => region !== this.#ownRegion && region !== home);
    return home !== this.#ownRegion && this.#stores.has(home) ? [home, ...others] : others;
  }

  /** Sends a request to a bucket, retries with back-off where that may help (a damaged body included), and notes the result. */
  async #at<T>(region: RegionIndex, ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await ask();
        this.#reachability.answered(region);
        return answer;
      } catch (error) {
        if (signal.aborted) throw error;
        this.#reachability.failed(region, error);
        if (attempt + 1 >= this.#tries || !isWorthARetry(error) || !this.#reachability.reachable(region)) throw error;
        await pause(backoffMs(attempt, RETRY_FIRST_MS, RETRY_MAX_MS), { signal });
        signal.throwIfAborted();
      }
    }
  }
}

/** The own bucket failed: another source would not help. */
class TargetError extends ObjectStoreError {
  constructor(cause: unknown) {
    super(cause instanceof ObjectStoreError ? cause.code : "unavailable", messageOf(cause), { cause });
  }
}

function isWorthARetry(error: unknown): boolean {
  return error instanceof ObjectStoreError && (error.retryable || error.code === "corrupt");
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
