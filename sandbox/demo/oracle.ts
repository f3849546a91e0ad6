/** A file whose fsync and close succeeded. */
export interface Acknowledged {
  readonly name: string;
  readonly bytes: number;
  readonly atMs: number;
}

/**
 * A sample of the primary's sequence, requested at `askedMs`: every write acknowledged before that time has a
 * sequence up to it.
 */
export interface Sample {
  readonly askedMs: number;
  readonly sequence: number;
}

export interface Verdict {
  /** Acknowledged, and read back correctly. */
  readonly right: number;
  /** Acknowledged, and lost within the limits of a forced promotion: past the fork, or in the loss report. */
  readonly lost: readonly Acknowledged[];
  /** Losses that are never allowed, one line each. */
  readonly violations: readonly string[];
}

/** Records every acknowledged write, and judges what can be read after a failover. */
export class Oracle {
  readonly #acknowledged = new Map<string, Acknowledged>();
  readonly #samples: Sample[] = [];

  acknowledge(write: Acknowledged): void {
    this.#acknowledged.set(write.name, write);
  }

  sample(sample: Sample): void {
    this.#samples.push(sample);
  }

  get acknowledged(): readonly Acknowledged[] {
    return [...this.#acknowledged.values()];
  }

  /** The longest time without an acknowledged write between two times, in ms. */
  longestPauseMs(fromMs: number, toMs: number): number {
    const times = this.acknowledged.map((it) => it.atMs).filter((at) => at >= fromMs && at <= toMs);
    const all = [fromMs, ...times.sort((a, b) => a - b), toMs];
    return Math.max(...all.slice(1).map((at, i) => at - all[i]!));
  }

  /**
   * @param found the result of reading each file: "right", "wrong" or an error code.
   * @param fork the last sequence that both regions share, from the loss report.
   * @param killedMs when the old primary was killed: later writes were acknowledged by the new one.
   * @param unreadable names of the files with unreachable blocks, from the loss report.
   */
  judge(found: ReadonlyMap<string, string>, fork: number, killedMs: number, unreadable: ReadonlySet<string>): Verdict {
    const safeUntilMs = this.#safeUntilMs(fork);
    const lost: Acknowledged[] = [];
    const violations: string[] = [];
    let right = 0;
    for (const write of this.acknowledged) {
      const result = found.get(write.name);
      if (result === "right") right += 1;
      else if (result === "ENOENT" && write.atMs > safeUntilMs && write.atMs <= killedMs) lost.push(write);
      else if (result === "EIO" && unreadable.has(write.name)) lost.push(write);
      else violations.push(`${write.name}: ${result ?? "not read"}, acknowledged before sequence ${fork}`);
    }
    return { right, lost, violations };
  }

  /** Every write acknowledged before this time is before the fork. */
  #safeUntilMs(fork: number): number {
    return Math.max(0, ...this.#samples.filter((it) => it.sequence <= fork).map((it) => it.askedMs));
  }
}
