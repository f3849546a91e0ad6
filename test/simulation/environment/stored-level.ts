import type { Prng } from "./prng.ts";

export type Puts = ReadonlyMap<string, Uint8Array | undefined>;

/** A consistent view of a database, copied on the first write after it was taken. */
export class View {
  #level: StoredLevel;
  #copy: { map: Map<string, Uint8Array>; keys: string[] } | undefined;

  constructor(level: StoredLevel) {
    this.#level = level;
  }

  get map(): ReadonlyMap<string, Uint8Array> {
    return this.#copy?.map ?? this.#level.map;
  }

  get keys(): readonly string[] {
    return this.#copy?.keys ?? this.#level.keys;
  }

  keep(): void {
    this.#copy ??= { map: new Map(this.#level.map), keys: [...this.#level.keys] };
  }
}

/** The content of one database: as its process sees it, and as it would be after a power failure. */
export class StoredLevel {
  readonly path: string;
  map = new Map<string, Uint8Array>();
  /** Sorted. Keys are latin1 strings. */
  keys: string[] = [];
  isOpen = false;
  /** Batches that were written but not synced, oldest first. */
  #unsynced: Puts[] = [];
  /** Batches whose write has not completed. */
  readonly inFlight: { readonly puts: Puts; readonly sync: boolean }[] = [];
  /** What survives a power failure. */
  #durable = new Map<string, Uint8Array>();
  readonly #views = new Set<View>();

  constructor(path: string) {
    this.path = path;
  }

  view(): View {
    const view = new View(this);
    this.#views.add(view);
    return view;
  }

  release(view: View): void {
    this.#views.delete(view);
  }

  write(puts: Puts, sync: boolean): void {
    for (const view of this.#views) view.keep();
    this.#views.clear();
    for (const [key, value] of puts) this.#put(key, value);
    this.#unsynced.push(puts);
    if (sync) this.sync();
  }

  sync(): void {
    for (const puts of this.#unsynced) apply(this.#durable, puts);
    this.#unsynced = [];
  }

  /** The process was killed: completed writes survive, and a prefix of those in flight. */
  crashed(prng: Prng): void {
    const reached = prng.below(this.inFlight.length + 1);
    for (const { puts, sync } of this.inFlight.slice(0, reached)) this.write(puts, sync && prng.chance(0.5));
    this.inFlight.length = 0;
    this.#views.clear();
    this.isOpen = false;
  }

  /** The power failed: of the unsynced batches a prefix survives. */
  powerFailed(prng: Prng): void {
    const left = prng.below(this.#unsynced.length + 1);
    for (const puts of this.#unsynced.slice(0, left)) apply(this.#durable, puts);
    this.#unsynced = [];
    this.map = new Map(this.#durable);
    this.keys = [...this.map.keys()].sort();
  }

  #put(key: string, value: Uint8Array | undefined): void {
    if (value === undefined) {
      if (this.map.delete(key)) this.keys.splice(this.indexOf(key), 1);
      return;
    }
    if (!this.map.has(key)) this.keys.splice(this.indexOf(key), 0, key);
    this.map.set(key, value);
  }

  /** Index of the first key that is not before `key`. */
  indexOf(key: string, keys: readonly string[] = this.keys): number {
    let low = 0;
    let high = keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function apply(map: Map<string, Uint8Array>, puts: Puts): void {
  for (const [key, value] of puts) {
    if (value === undefined) map.delete(key);
    else map.set(key, value);
  }
}
