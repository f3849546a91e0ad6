import type { Version } from "../../../core/ids.ts";

type Done = (committed: Version | undefined) => void;

interface Question {
  readonly dones: readonly Done[];
  readonly askedMs: number;
}

/** Without an answer for this long the primary counts as out of reach. An election takes less. */
const ANSWER_MS = 5_000;
/** A question can stay without an answer on a stream that lasts: a primary that is sealed cannot answer. */
const ASK_AGAIN_MS = 500;
/** At a round trip of 80 ms this is a question every few ms. Beyond it, readers wait until an answer arrives. */
const UNDER_WAY_MAX = 32;

/**
 * Asks the primary what it has committed, for the readers of a mirror. Readers of the same turn of the event loop share a
 * question. Several questions may be under way at once: an answer to a question that was sent before a read began does not
 * serve that read.
 */
export class ReadQuestions {
  /** Sends a question; false if there is no stream to the primary. */
  readonly #send: (number: number) => boolean;
  /** How long nothing has arrived from the primary, in ms. */
  readonly #silentMs: () => number;
  #waiting: { done: Done; sinceMs: number }[] = [];
  /** In the order in which they were sent, which is the order of the answers. */
  readonly #underWay = new Map<number, Question>();
  #nextNumber = 1;
  #scheduled = false;
  #sentMs = Number.NEGATIVE_INFINITY;
  /** A question got no answer in time, and none has been answered since. */
  #isOutOfReach = false;
  readonly #timer: NodeJS.Timeout;

  constructor(send: (number: number) => boolean, silentMs: () => number) {
    this.#send = send;
    this.#silentMs = silentMs;
    this.#timer = setInterval(() => this.#tick(), 50);
    this.#timer.unref();
  }

  /** `done` is always called, within about 5 s: with undefined if the primary does not answer. At once while it is out of reach. */
  ask(done: Done): void {
    if (this.#isOutOfReach || this.#silentMs() > ANSWER_MS) {
      done(undefined);
      return;
    }
    this.#waiting.push({ done, sinceMs: performance.now() });
    this.#schedule();
  }

  /** An answer serves its own question and every question that was sent before it. */
  answered(number: number, committed: Version): void {
    this.#isOutOfReach = false;
    const dones: Done[] = [];
    for (const [asked, question] of this.#underWay) {
      if (asked > number) break;
      this.#underWay.delete(asked);
      dones.push(...question.dones);
    }
    this.#schedule();
    for (const done of dones) done(committed);
  }

  /** The stream has ended: its questions are asked again on the next one, until their deadline. */
  lost(): void {
    const again = [...this.#underWay.values()].flatMap(({ dones, askedMs }) =>
      dones.map((done) => ({ done, sinceMs: askedMs })),
    );
    this.#underWay.clear();
    this.#waiting = [...again, ...this.#waiting];
  }

  /** There is a stream to the primary again. */
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
    if (this.#waiting.length > 0) this.#sendWaiting();
  }

  /** With no read that waits it only asks again: the answer serves every question that was sent before. */
  #sendWaiting(): void {
    const number = this.#nextNumber;
    if (!this.#send(number)) return;
    this.#nextNumber += 1;
    this.#sentMs = performance.now();
    if (this.#waiting.length === 0) return;
    this.#underWay.set(number, { dones: this.#waiting.map(({ done }) => done), askedMs: this.#waiting[0]!.sinceMs });
    this.#waiting = [];
  }

  #tick(): void {
    const nowMs = performance.now();
    const oldest = this.#underWay.values().next().value;
    const sinceMs = Math.min(oldest?.askedMs ?? nowMs, this.#waiting[0]?.sinceMs ?? nowMs);
    if (nowMs - sinceMs >= ANSWER_MS) {
      this.#isOutOfReach = true;
      this.#giveUp();
    }
    this.#schedule();
    const asks = this.#isOutOfReach || this.#underWay.size > 0;
    if (asks && nowMs - this.#sentMs >= ASK_AGAIN_MS) this.#sendWaiting();
  }

  /** No read waits any longer. */
  #giveUp(): void {
    const dones = [...this.#underWay.values()].flatMap((question) => question.dones);
    dones.push(...this.#waiting.map(({ done }) => done));
    this.#underWay.clear();
    this.#waiting = [];
    for (const done of dones) done(undefined);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#giveUp();
  }
}
