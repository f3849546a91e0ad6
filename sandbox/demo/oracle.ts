/** A write that was acknowledged: closed after fsync. */
export interface Acknowledged {
  readonly name: string;
  readonly bytes: number;
  readonly atMs: number;
}

/** The primary's sequence as it was asked for at `askedMs`: every write acknowledged before has one up to it. */
export interface Sample {
  readonly askedMs: number;
  readonly sequence: number;
}

export interface Verdict {
  /** Acknowledged and read back right. */
  readonly right: number;
  /** Acknowledged and not there, past the fork: what a promotion by force may lose. */
  readonly lost: readonly Acknowledged[];
  /** What may never be: each in a line. */
  readonly violations: readonly string[];
}

/** Keeps every acknowledgement, and judges what is there afterwards. */
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

  /** The longest time in which no write was acknowledged between two moments, ms. */
  longestPauseMs(fromMs: number, toMs: number): number {
    const times = this.acknowledged.map((it) => it.atMs).filter((at) => at >= fromMs && at <= toMs);
    const all = [fromMs, ...times.sort((a, b) => a - b), toMs];
    return Math.max(...all.slice(1).map((at, i) => at - all[i]!));
  }

  /**
   * @param found what reading each file gave: "right", "wrong" or an error's code.
   * @param fork the loss report's: the last sequence that both regions share.
   * @param killedMs when the old primary was gone: what was acknowledged later was by the new one.
   * @param unreadable names of the files that the loss report says have blocks out of reach.
   */
  judge(found: ReadonlyMap<string, string>, fork: number, killedMs: number, unreadable: ReadonlySet<string>): Verdict {
    const safeUntilMs = this.#safeUntilMs(fork);
    const lost: Acknowledged[] = [];
    const violations: string[] = [];
    let right = 0;
    for (const write of this.acknowledged) {
      const what = found.get(write.name);
      if (what === "right") right += 1;
      else if (what === "ENOENT" && write.atMs > safeUntilMs && write.atMs <= killedMs) lost.push(write);
      else if (what === "EIO" && unreadable.has(write.name)) lost.push(write);
      else violations.push(`${write.name}: ${what ?? "was not looked at"}, acknowledged before sequence ${fork}`);
    }
    return { right, lost, violations };
  }

  /** All that was acknowledged before this moment lies before the fork. */
  #safeUntilMs(fork: number): number {
    return Math.max(0, ...this.#samples.filter((it) => it.sequence <= fork).map((it) => it.askedMs));
  }
}
