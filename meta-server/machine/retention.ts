import type { RegionIndex } from "../../core/ids.ts";
import type { Tree } from "../../core/tree.ts";
import type { Checkpoints, Retention } from "./checkpoints.ts";

const EVERY_MS = 1_000;

interface Needs {
  readonly tree: Tree;
  readonly region: string;
  readonly primary: string;
  readonly logBytes: number;
  readonly put: (key: string, value: undefined) => void;
}

/**
 * Decides how far back the log is kept: for the mirror that is furthest behind, within the volume's bounds, and for the
 * streams that read it now.
 */
export class LogRetention {
  readonly #checkpoints: Checkpoints;
  readonly #bounds: Retention;
  readonly #pins = new Set<{ sequence: number }>();
  #from = 0;
  #atMs = 0;

  constructor(checkpoints: Checkpoints, bounds: Retention) {
    this.#checkpoints = checkpoints;
    this.#bounds = bounds;
  }

  /** Keeps the log from this sequence on. @returns the function that releases it */
  pin(sequence: number): () => void {
    const pin = { sequence };
    this.#pins.add(pin);
    return () => this.#pins.delete(pin);
  }

  /** The log may be cut below this index. Computed at most once a second. */
  fromIndex(needs: Needs): number {
    const nowMs = Date.now();
    if (nowMs - this.#atMs < EVERY_MS) return this.#from;
    this.#atMs = nowMs;
    const pinned = Math.min(...[...this.#pins].map((pin) => pin.sequence));
    const bounds = { ...this.#bounds, nowMs, logBytes: needs.logBytes, pinned };
    this.#from = this.#checkpoints.retainFrom(oldestMirror(needs), bounds, needs.put);
    return this.#from;
  }
}

/** The sequence that every mirror is known to have applied. The primary itself has everything. */
function oldestMirror({ tree, region, primary }: Needs): number {
  const { volume } = tree;
  if (volume === undefined) return 0;
  let oldest: number = volume.version.sequence;
  volume.regions.forEach(({ name }, index) => {
    if (name === region || name === primary) return;
    oldest = Math.min(oldest, tree.regionProgress(index as RegionIndex)?.sequence ?? 0);
  });
  return oldest;
}
