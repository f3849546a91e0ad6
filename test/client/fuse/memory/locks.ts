import type { LockRange, Result } from "../../../../client/volume/handlers.ts";

interface Held extends LockRange {
  readonly owner: string;
}

/** The advisory locks of one inode, in one of the two tables (fcntl ranges or flock). */
export class LockTable {
  #held: Held[] = [];
  #waiting: (() => void)[] = [];

  conflict(owner: string, range: LockRange): Held | undefined {
    return this.#held.find(
      (held) =>
        held.owner !== owner &&
        held.start <= range.end &&
        range.start <= held.end &&
        (held.mode === "write" || range.mode === "write"),
    );
  }

  /** Locks, converts or unlocks a range; the owner's other ranges stay as they are. */
  put(owner: string, range: LockRange): void {
    const kept: Held[] = [];
    for (const held of this.#held) {
      if (held.owner !== owner || held.start > range.end || range.start > held.end) {
        kept.push(held);
        continue;
      }
      if (held.start < range.start) kept.push({ ...held, end: range.start - 1 });
      if (held.end > range.end) kept.push({ ...held, start: range.end + 1 });
    }
    if (range.mode !== "unlock") kept.push({ ...range, owner });
    this.#held = kept;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async wait(owner: string, range: LockRange, signal: AbortSignal): Promise<Result<true>> {
    while (this.conflict(owner, range) !== undefined) {
      if (signal.aborted) return "EINTR";
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    if (signal.aborted) return "EINTR";
    this.put(owner, range);
    return true;
  }

  releaseAll(owner: string): void {
    this.put(owner, { mode: "unlock", start: 0, end: Number.MAX_SAFE_INTEGER, pid: 0 });
  }
}
