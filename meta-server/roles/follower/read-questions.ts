import type { Version } from "../../../core/ids.ts";

type Done = (committed: Version | undefined) => void;

interface Question {
  readonly dones: readonly Done[];
  readonly askedMs: number;
}

const ANSWER_MS = 1_000;
/** Over a WAN of 80 ms this is one every few ms. Past it, who asks waits for the next answer. */
const UNDER_WAY_MAX = 32;

/**
 * What the mirror's readers ask the primary: "what have you committed?". All that ask in one turn of the event loop share a
 * question; several questions may be under way, so that nobody waits for an answer that left too early for him.
 */
export class ReadQuestions {
  /** Sends a question; false when nobody is there to ask. */
  readonly #send: (number: number) => boolean;
  /** How long the primary has been out of reach, ms. */
  readonly #silentMs: () => number;
  #waiting: { done: Done; sinceMs: number }[] = [];
  /** In the order of their sending, which is the order of the answers. */
  readonly #underWay = new Map<number, Question>();
  #nextNumber = 1;
  #scheduled = false;
  readonly #timer: NodeJS.Timeout;

  constructor(send: (number: number) => boolean, silentMs: () => number) {
    this.#send = send;
    this.#silentMs = silentMs;
    this.#timer = setInterval(() => this.#tick(), 50);
    this.#timer.unref();
  }

  ask(done: Done): void {
    if (this.#silentMs() > ANSWER_MS) {
      done(undefined);
      return;
    }
    this.#waiting.push({ done, sinceMs: performance.now() });
    this.#schedule();
  }

  /** An answer holds for its own question and for every one that was asked before it. */
  answered(number: number, committed: Version): void {
    const dones: Done[] = [];
    for (const [asked, question] of this.#underWay) {
      if (asked > number) break;
      this.#underWay.delete(asked);
      dones.push(...question.dones);
    }
    this.#schedule();
    for (const done of dones) done(committed);
  }

  /** The stream is gone: what was asked on it is asked again on the next one, while its time lasts. */
  lost(): void {
    const again = [...this.#underWay.values()].flatMap(({ dones, askedMs }) =>
      dones.map((done) => ({ done, sinceMs: askedMs })),
    );
    this.#underWay.clear();
    this.#waiting = [...again, ...this.#waiting];
  }

  /** There is somebody to ask again. */
  resume(): void {
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0 || this.#underWay.size >= UNDER_WAY_MAX) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#next();
    });
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    const number = this.#nextNumber;
    if (!this.#send(number)) return;
    this.#nextNumber += 1;
    this.#underWay.set(number, { dones: this.#waiting.map(({ done }) => done), askedMs: this.#waiting[0]!.sinceMs });
    this.#waiting = [];
  }

  #tick(): void {
    const oldestMs = performance.now() - ANSWER_MS;
    const late = this.#waiting.filter(({ sinceMs }) => sinceMs <= oldestMs).map(({ done }) => done);
    this.#waiting = this.#waiting.filter(({ sinceMs }) => sinceMs > oldestMs);
    for (const [number, { dones, askedMs }] of this.#underWay) {
      if (askedMs > oldestMs) break;
      this.#underWay.delete(number);
      late.push(...dones);
    }
    this.#schedule();
    for (const done of late) done(undefined);
  }

  close(): void {
    clearInterval(this.#timer);
    const dones = [...this.#underWay.values()].flatMap((question) => question.dones);
    dones.push(...this.#waiting.map(({ done }) => done));
    this.#underWay.clear();
    this.#waiting = [];
    for (const done of dones) done(undefined);
  }
}
