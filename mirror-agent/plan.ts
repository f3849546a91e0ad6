import type { Slice } from "../core/commands.ts";
import type { RegionIndex, SliceId } from "../core/ids.ts";
import { type Candidate, type CopyJob, deadlineMs, makeJobs, URGENT_PRIORITY } from "./copy-job.ts";
import { Heap } from "./heap.ts";

export interface PlanOptions {
  /** Most slices in the queue at once, over all agents of the region. */
  readonly windowSlices: number;
  /** Most bytes in the queue at once (a single larger slice is let in). */
  readonly windowBytes: number;
  /** Most slices in the plan. Beyond it only urgent ones are added; a later walk brings the others. */
  readonly knownMax: number;
  /** The pause after the first failure of a slice; it doubles with each further one, up to `pauseMaxMs`. */
  readonly pauseFirstMs: number;
  readonly pauseMaxMs: number;
  /** A queued slice that the queue has not held for this long is put in again. */
  readonly absentMs: number;
  /** A slice that has been pending for longer may be in the bucket already, copied by an earlier agent: it is checked. */
  readonly freshMs: number;
}

const PLAN_DEFAULTS: PlanOptions = {
  windowSlices: 1024,
  windowBytes: 512 * 1024 * 1024,
  knownMax: 500_000,
  pauseFirstMs: 2_000,
  pauseMaxMs: 300_000,
  absentMs: 2_000,
  freshMs: 60_000,
};

export interface PlanStep {
  readonly add: readonly CopyJob[];
  /** Jobs in the queue that have become urgent. */
  readonly promote: readonly CopyJob[];
}

/** Why a copy failed. `slice`: the slice itself is at fault. `path`: a bucket did not answer; the slice may be good. */
export type Blame = "slice" | "path";

interface Item extends Candidate {
  urgent: boolean;
  /** `copied`: verified in the own bucket, not yet acknowledged by the metadata. */
  state: "ready" | "queued" | "parked" | "copied";
  failures: number;
  blame: Blame;
  readded: number;
  /** Queued, and not held by the queue since then. */
  absentSinceMs: number | undefined;
  /** The job it was last put into. */
  job: CopyJob | undefined;
  /** The number of its valid ticket: an item may be in several heaps, and counts in one. */
  ticket: number;
  /** The walk that named it last. */
  walk: number;
}

interface Ticket {
  readonly item: Item;
  readonly ticket: number;
  /** ms since 1970; -1 when urgent. */
  readonly order: number;
}

const earlier = (a: Ticket, b: Ticket) => (a.order !== b.order ? a.order < b.order : a.item.slice.id < b.item.slice.id);
const createHeap = () => new Heap<Ticket>(earlier, ({ item, ticket }) => item.ticket !== ticket);

/**
 * Decides what to copy next. Pure: the caller reports events and passes the time; the plan uses no clock, queue or bucket.
 * All it knows comes from the metadata's pending slices, and is rebuilt by any walk over them.
 */
export class Plan {
  readonly #options: PlanOptions;
  readonly #items = new Map<SliceId, Item>();
  /** By home region, so that slices that cannot be fetched now do not hold up others. */
  readonly #ready = new Map<RegionIndex, Heap<Ticket>>();
  readonly #parked = createHeap();
  #promote: Item[] = [];
  readonly #queued = new Set<Item>();
  #queuedBytes = 0;
  #bytes = 0;
  #tickets = 0;
  #walk = 0;
  #walking = false;
  #overflowed = false;

  constructor(options: Partial<PlanOptions> = {}) {
    this.#options = { ...PLAN_DEFAULTS, ...options };
  }

  get known(): number {
    return this.#items.size;
  }

  /** Slices were left out for want of room, and there is room now. */
  get wantsWalk(): boolean {
    return this.#overflowed && this.#items.size <= this.#options.knownMax / 2;
  }

  count(): { ready: number; queued: number; parked: number; copied: number; bytes: number; oldestSinceMs: number } {
    const counts = { ready: 0, queued: 0, parked: 0, copied: 0, bytes: this.#bytes, oldestSinceMs: Infinity };
    for (const item of this.#items.values()) {
      counts[item.state]++;
      counts.oldestSinceMs = Math.min(counts.oldestSinceMs, item.sinceMs);
    }
    return counts;
  }

  has(id: SliceId): boolean {
    return this.#items.has(id);
  }

  /** A walk over all pending slices begins. */
  beginWalk(): void {
    this.#walk++;
    this.#walking = true;
    this.#overflowed = false;
  }

  /** The walk is complete: slices that it did not name are no longer pending. Not called after an error. */
  endWalk(): void {
    if (!this.#walking) return;
    this.#walking = false;
    for (const item of this.#items.values()) if (item.walk !== this.#walk) this.forget(item.slice.id);
  }

  /** A slice is pending: a new one, or one that is named again. */
  see(pending: { slice: Slice; sinceMs: number; urgent: boolean }): void {
    const known = this.#items.get(pending.slice.id);
    if (known !== undefined) {
      known.walk = this.#walk;
      if (pending.urgent && !known.urgent) this.#makeUrgent(known);
      return;
    }
    if (this.#items.size >= this.#options.knownMax && !pending.urgent) {
      this.#overflowed = true;
      return;
    }
    const item: Item = {
      ...pending,
      state: "ready",
      failures: 0,
      blame: "path",
      readded: 0,
      absentSinceMs: undefined,
      job: undefined,
      ticket: 0,
      walk: this.#walk,
    };
    this.#items.set(pending.slice.id, item);
    this.#bytes += pending.slice.bytes;
    this.#makeReady(item);
  }

  /** A slice is no longer pending: acknowledged by the metadata, or deleted. */
  forget(id: SliceId): void {
    const item = this.#items.get(id);
    if (item === undefined) return;
    this.#leave(item);
    item.ticket = -1;
    this.#items.delete(id);
    this.#bytes -= item.slice.bytes;
  }

  /** A slice is verified in the own bucket. It stays in the plan until the metadata has acknowledged it (`forget`). */
  copied(id: SliceId): void {
    const item = this.#items.get(id);
    if (item === undefined) return;
    this.#leave(item);
    item.state = "copied";
    item.ticket = -1;
  }

  /** A copy failed. @returns failures in a row, including this one, and the pause until the next attempt. */
  failed(id: SliceId, blame: Blame, nowMs: number): { failures: number; pauseMs: number } {
    const item = this.#items.get(id);
    if (item === undefined) return { failures: 1, pauseMs: 0 };
    item.failures++;
    const pauseMs = this.#pauseMs(item);
    this.#park(item, blame, nowMs + pauseMs);
    return { failures: item.failures, pauseMs };
  }

  /** A bucket answers again: slices that failed because of a bucket are ready at once. */
  pathRestored(nowMs: number): void {
    for (const item of this.#items.values())
      if (item.state === "parked" && item.blame === "path") this.#park(item, "path", nowMs);
  }

  /** Jobs could not be put into the queue: their slices are ready again. */
  notQueued(jobs: readonly CopyJob[]): void {
    for (const { id } of jobs.flatMap((job) => job.slices)) {
      const item = this.#items.get(id);
      if (item?.state === "queued") this.#makeReady(item);
    }
  }

  /** Compares with what the queue holds and what runs here: slices that have vanished from the queue are ready again. */
  reconcile(held: ReadonlySet<SliceId>, nowMs: number): void {
    for (const item of this.#queued) {
      if (held.has(item.slice.id)) item.absentSinceMs = undefined;
      else if (item.absentSinceMs === undefined) item.absentSinceMs = nowMs;
      else if (nowMs - item.absentSinceMs >= this.#options.absentMs) {
        item.readded++;
        this.#makeReady(item);
      }
    }
  }

  /**
   * Chooses what to put into the queue now: urgent slices first, then the oldest, up to the window.
   * @param canFetch whether a slice with this home can be fetched now.
   */
  take(nowMs: number, canFetch: (home: RegionIndex) => boolean): PlanStep {
    this.#wake(nowMs);
    const promote = this.#promote.flatMap((item) =>
      item.state === "queued" && item.job !== undefined ? [{ ...item.job, priority: URGENT_PRIORITY }] : [],
    );
    this.#promote = [];
    const taken: Item[] = [];
    for (;;) {
      const heap = this.#firstHeap(canFetch);
      const next = heap?.peek()?.item;
      if (heap === undefined || next === undefined || !this.#fits(next)) break;
      heap.pop();
      next.state = "queued";
      next.absentSinceMs = undefined;
      this.#queued.add(next);
      this.#queuedBytes += next.slice.bytes;
      taken.push(next);
    }
    const add = makeJobs(taken, nowMs, this.#options.freshMs);
    for (const job of add) for (const { id } of job.slices) this.#items.get(id)!.job = job;
    return { add, promote };
  }

  #fits(item: Item): boolean {
    // A reader waits: the window does not apply, only twice its size as a bound on memory.
    if (item.urgent) return this.#queued.size < 2 * this.#options.windowSlices;
    if (this.#queued.size >= this.#options.windowSlices) return false;
    return this.#queued.size === 0 || this.#queuedBytes + item.slice.bytes <= this.#options.windowBytes;
  }

  /** The heap with the first slice of all homes that can be fetched now. */
  #firstHeap(canFetch: (home: RegionIndex) => boolean): Heap<Ticket> | undefined {
    let first: Heap<Ticket> | undefined;
    for (const [home, heap] of this.#ready) {
      const top = heap.peek();
      if (top === undefined || !canFetch(home)) continue;
      if (first === undefined || earlier(top, first.peek()!)) first = heap;
    }
    return first;
  }

  /** Parked items whose pause is over are ready again. */
  #wake(nowMs: number): void {
    for (let top = this.#parked.peek(); top !== undefined && top.order <= nowMs; top = this.#parked.peek()) {
      this.#parked.pop();
      this.#makeReady(top.item);
    }
  }

  #makeUrgent(item: Item): void {
    item.urgent = true;
    if (item.state === "queued") this.#promote.push(item);
    else if (item.state !== "copied") this.#makeReady(item);
  }

  #makeReady(item: Item): void {
    this.#leave(item);
    item.state = "ready";
    item.ticket = ++this.#tickets;
    const { home } = item.slice;
    const heap = this.#ready.get(home) ?? createHeap();
    this.#ready.set(home, heap);
    heap.push({ item, ticket: item.ticket, order: item.urgent ? -1 : deadlineMs(item) });
  }

  #park(item: Item, blame: Blame, notBeforeMs: number): void {
    this.#leave(item);
    item.state = "parked";
    item.blame = blame;
    item.ticket = ++this.#tickets;
    this.#parked.push({ item, ticket: item.ticket, order: notBeforeMs });
  }

  #leave(item: Item): void {
    if (!this.#queued.delete(item)) return;
    item.absentSinceMs = undefined;
    this.#queuedBytes -= item.slice.bytes;
  }

  /** Back-off with a spread of a quarter either way, taken from the id: slices that failed together do not return together. */
  #pauseMs(item: Item): number {
    const grown = this.#options.pauseFirstMs * 2 ** Math.min(item.failures - 1, 20);
    const spread = 0.75 + (((item.slice.id % 9973) * 7919 + item.failures * 104_729) % 1000) / 2000;
    return Math.round(Math.min(grown, this.#options.pauseMaxMs) * spread);
  }
}
