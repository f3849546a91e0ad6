/**
 * Judges what a failure did to a volume from outside. It trusts only what the drill did itself: each write is recorded by the
 * process that made it, with the times of its own clock, before it begins and when the system call has returned; the time of
 * the failure is the drill's. What the system says of itself (a fork, a list of unreadable files) is compared with this and never
 * excuses anything.
 */

/** One write of a file that nobody else writes: created, written, synced, closed. All times are of one clock, ms. */
export interface Write {
  readonly name: string;
  readonly bytes: number;
  /** The region whose mount it went through. */
  readonly region: string;
  readonly begunMs: number;
  /** When close had returned; undefined while it has not, and for good when the writer was killed first. */
  readonly acknowledgedMs?: number;
  /** The error of the call that failed. */
  readonly failed?: string;
}

/** What reading a file gave: the bytes that were written, other bytes, or the error's code (`ENOENT`, `EIO`, …). */
export type Reading = "right" | "wrong" | (string & {});

/** A region is destroyed, and another is promoted by force. */
export interface Loss {
  readonly region: string;
  /** Just before the first process was killed. */
  readonly begunMs: number;
  /** When the last process had been reaped. */
  readonly reapedMs: number;
  /** How old the oldest lost write may be at most, counted back from `begunMs`. */
  readonly rpoMsMax: number;
}

export interface Verdict {
  /** Acknowledged, and read back right. */
  readonly right: number;
  /** Acknowledged, and absent or unreadable as a forced promotion may leave it. */
  readonly lost: readonly Write[];
  /** From the oldest lost acknowledgement to the failure; 0 when nothing was lost. */
  readonly rpoMs: number;
  /** From the failure to the first acknowledgement of a write that was begun after it; undefined when there was none. */
  readonly rtoMs: number | undefined;
  /** What must never happen, each in a sentence. */
  readonly violations: readonly string[];
}

/** Every write of a drill, as its writers reported it. */
export class History {
  readonly #writes = new Map<string, Write>();

  /** Called before the write's first system call. */
  begin(write: Pick<Write, "name" | "bytes" | "region" | "begunMs">): void {
    if (this.#writes.has(write.name)) throw new Error(`${write.name} is written twice: the drill's own mistake`);
    this.#writes.set(write.name, write);
  }

  acknowledge(name: string, acknowledgedMs: number): void {
    this.#writes.set(name, { ...this.#of(name), acknowledgedMs });
  }

  fail(name: string, failed: string): void {
    this.#writes.set(name, { ...this.#of(name), failed });
  }

  get acknowledged(): readonly Write[] {
    return [...this.#writes.values()].filter(({ acknowledgedMs }) => acknowledgedMs !== undefined);
  }

  get failures(): readonly string[] {
    return [...this.#writes.values()]
      .filter(({ failed }) => failed !== undefined)
      .map(({ name, region, failed }) => `${name}, written in ${region}: ${failed}`);
  }

  /** Writes that were begun before a moment and not acknowledged by then: what a failure at that moment interrupts. */
  inFlightAt(ms: number): readonly Write[] {
    return [...this.#writes.values()].filter(
      ({ begunMs, acknowledgedMs = Number.POSITIVE_INFINITY }) => begunMs <= ms && acknowledgedMs > ms,
    );
  }

  /** Writes through a region's mount that were begun after a moment and acknowledged: the proof that writing goes on. */
  begunAfter(ms: number, region?: string): readonly Write[] {
    return this.acknowledged.filter((write) => write.begunMs > ms && (region ?? write.region) === write.region);
  }

  /** The longest time without an acknowledgement between two moments, ms. */
  longestPauseMs(fromMs: number, toMs: number): number {
    const times = this.acknowledged.map((write) => write.acknowledgedMs!).filter((at) => at >= fromMs && at <= toMs);
    const all = [fromMs, ...times.sort((a, b) => a - b), toMs];
    return Math.max(...all.slice(1).map((at, i) => at - all[i]!));
  }

  #of(name: string): Write {
    const write = this.#writes.get(name);
    if (write === undefined) throw new Error(`${name} ended before it began: the drill's own mistake`);
    return write;
  }
}

/** After a failure that promises no loss: every acknowledged file is there, byte by byte. @returns violations */
export function judgeNoLoss(history: History, readings: ReadonlyMap<string, Reading>): readonly string[] {
  return history.acknowledged
    .filter(({ name }) => readings.get(name) !== "right")
    .map(({ name }) => `${name} was acknowledged: ${readings.get(name) ?? "not read"}`);
}

/**
 * After the loss of a whole region and a promotion by force.
 * @param readings of every acknowledged file, in the promoted region.
 * @param reported names that the promotion's report lists as unreadable.
 */
export function judgeLoss(
  history: History,
  readings: ReadonlyMap<string, Reading>,
  loss: Loss,
  reported: ReadonlySet<string>,
): Verdict {
  const violations = [...drillProblems(history, loss)];
  const lost: Write[] = [];
  let right = 0;
  for (const write of history.acknowledged) {
    const reading = readings.get(write.name) ?? "not read";
    if (reading === "right") right += 1;
    else if (mayBeLost(write, reading, loss)) lost.push(write);
    else violations.push(`${write.name}, ${describe(write, loss)}: ${reading}`);
  }
  violations.push(...reorderings(history, readings, loss), ...reportProblems(readings, reported));
  const rpoMs = Math.max(0, ...lost.map((write) => loss.begunMs - write.acknowledgedMs!));
  if (rpoMs > loss.rpoMsMax) violations.push(`a write ${rpoMs} ms old is lost, and ${loss.rpoMsMax} ms is the bound`);
  const resumed = history.begunAfter(loss.reapedMs).map((write) => write.acknowledgedMs!);
  const rtoMs = resumed.length === 0 ? undefined : Math.min(...resumed) - loss.begunMs;
  if (rtoMs === undefined) violations.push("no write that was begun after the loss was ever acknowledged");
  return { right, lost, rpoMs, rtoMs, violations };
}

/** A drill that hit nothing, or whose dead processes went on, proves nothing. */
function* drillProblems(history: History, loss: Loss): Generator<string> {
  if (history.inFlightAt(loss.begunMs).length === 0) yield "no write was in flight when the region was lost";
  for (const { name, region, begunMs, acknowledgedMs } of history.acknowledged) {
    if (region === loss.region && acknowledgedMs! > loss.reapedMs)
      yield `${name}, begun at ${begunMs}, was acknowledged in ${region} after its last process had been reaped`;
  }
}

/** How long a writer may still receive an answer of a process that has ended. */
const ANSWER_MS_MAX = 200;

/** Only what the lost region acknowledged can be lost, and never by other bytes: later answers are the new primary's. */
function mayBeLost({ begunMs, acknowledgedMs }: Write, reading: Reading, { reapedMs }: Loss): boolean {
  if (reading !== "ENOENT" && reading !== "EIO") return false;
  return begunMs <= reapedMs && acknowledgedMs! <= reapedMs + ANSWER_MS_MAX;
}

/**
 * A promotion keeps a prefix of the history: a name that is absent may not have been acknowledged before another began that is
 * there. (Unreadable bytes follow no order: blocks are copied side by side.)
 */
function* reorderings(history: History, readings: ReadonlyMap<string, Reading>, loss: Loss): Generator<string> {
  const before = history.acknowledged.filter((write) => write.acknowledgedMs! <= loss.begunMs);
  const present = before.filter(({ name }) => readings.get(name) !== "ENOENT");
  const last = present.reduce<Write | undefined>(
    (a, b) => (a === undefined || b.begunMs > a.begunMs ? b : a),
    undefined,
  );
  for (const absent of before) {
    if (last === undefined || readings.get(absent.name) !== "ENOENT" || absent.acknowledgedMs! >= last.begunMs)
      continue;
    yield `${absent.name} is absent, and ${last.name}, begun after that had been acknowledged, is there`;
  }
}

/**
 * What is unreadable must be in the report. It may list more: a copy that ends while the promotion runs makes a file readable
 * that was not yet.
 */
function* reportProblems(readings: ReadonlyMap<string, Reading>, reported: ReadonlySet<string>): Generator<string> {
  for (const [name, reading] of readings)
    if (reading === "EIO" && !reported.has(name)) yield `${name} is EIO, and the report does not list it`;
}

function describe({ begunMs, acknowledgedMs }: Write, { begunMs: lossMs, reapedMs }: Loss): string {
  if (begunMs > reapedMs) return "begun after the loss and acknowledged";
  return `acknowledged ${Math.abs(lossMs - acknowledgedMs!)} ms ${acknowledgedMs! <= lossMs ? "before" : "after"} the loss began`;
}
