import type { Version } from "../../core/ids.ts";

type Done = (committed: Version | undefined) => void;

const ANSWER_MS = 1_000;

/**
 * What the mirror's readers ask the primary: "what have you committed?". One question is under way at a time, and stands
 * for all that asked before it left; who comes later waits for the next.
 */
export class ReadQuestions {
  /** Sends a question; false when nobody is there to ask. */
  readonly #send: (number: number) => boolean;
  /** How long the primary has been out of reach, ms. */
  readonly #silentMs: () => number;
  #waiting: { done: Done; sinceMs: number }[] = [];
  #asked: { number: number; dones: Done[]; sentMs: number } | undefined;
  #nextNumber = 1;
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
    if (this.#waiting.length === 1 && this.#asked === undefined) queueMicrotask(() => this.#next());
  }

  answered(number: number, committed: Version): void {
    if (this.#asked?.number !== number) return;
    const { dones } = this.#asked;
    this.#asked = undefined;
    this.#next();
    for (const done of dones) done(committed);
  }

  /** The stream is gone: what was asked on it is asked again on the next one, while its time lasts. */
  lost(): void {
    if (this.#asked === undefined) return;
    const { dones, sentMs } = this.#asked;
    this.#asked = undefined;
    this.#waiting = [...dones.map((done) => ({ done, sinceMs: sentMs })), ...this.#waiting];
  }

  /** There is somebody to ask again. */
  resume(): void {
    this.#next();
  }

  #next(): void {
    if (this.#asked !== undefined || this.#waiting.length === 0) return;
    const number = this.#nextNumber;
    if (!this.#send(number)) return;
    this.#nextNumber += 1;
    this.#asked = { number, dones: this.#waiting.map(({ done }) => done), sentMs: performance.now() };
    this.#waiting = [];
  }

  #tick(): void {
    const oldestMs = performance.now() - ANSWER_MS;
    const late = this.#waiting.filter(({ sinceMs }) => sinceMs <= oldestMs).map(({ done }) => done);
    this.#waiting = this.#waiting.filter(({ sinceMs }) => sinceMs > oldestMs);
    if (this.#asked !== undefined && this.#asked.sentMs <= oldestMs) {
      late.push(...this.#asked.dones);
      this.#asked = undefined;
      this.#next();
    }
    for (const done of late) done(undefined);
  }

  close(): void {
    clearInterval(this.#timer);
    const dones = [...(this.#asked?.dones ?? []), ...this.#waiting.map(({ done }) => done)];
    this.#asked = undefined;
    this.#waiting = [];
    for (const done of dones) done(undefined);
  }
}
