import type { LogStore } from "../log-store.ts";
import type { Entry } from "../raft/entry.ts";
import type { Save } from "../raft/input.ts";
import type { Message } from "../raft/messages.ts";

export interface SaverEvents {
  /** In the order of the saves. Then the promises may be sent. */
  saved(save: Save, promises: readonly Message[]): void;
  failed(error: Error): void;
}

/**
 * Group commit: one write at a time; saves that arrive meanwhile are merged into the next one. A promise is released once
 * the save that it came with, and every earlier one, is durable.
 */
export class Saver {
  readonly #log: LogStore;
  readonly #events: SaverEvents;
  #inFlight = false;
  #waiting: Save | undefined;
  #promises: Message[] = [];
  #whenIdle: (() => void)[] = [];

  constructor(log: LogStore, events: SaverEvents) {
    this.#log = log;
    this.#events = events;
  }

  get isBusy(): boolean {
    return this.#inFlight;
  }

  /** @returns the promises that may be sent at once, since no write is pending */
  add(save: Save | undefined, promises: readonly Message[]): readonly Message[] {
    if (save === undefined && !this.#inFlight && this.#waiting === undefined) return promises;
    for (const promise of promises) this.#promises.push(promise);
    if (save !== undefined) this.#waiting = this.#waiting === undefined ? save : merge(this.#waiting, save);
    if (!this.#inFlight) this.#write();
    return [];
  }

  /** Resolves when nothing is being written. */
  idle(): Promise<void> {
    if (!this.#inFlight) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #write(): void {
    if (this.#waiting === undefined) return;
    const save = this.#waiting;
    const promises = this.#promises;
    this.#waiting = undefined;
    this.#promises = [];
    const done = (error?: Error) => {
      this.#inFlight = false;
      if (error === undefined) {
        this.#write(); // first: the disk works while the events below are handled
        this.#events.saved(save, promises);
      } else {
        this.#events.failed(error);
      }
      if (this.#inFlight) return;
      for (const resolve of this.#whenIdle.splice(0)) resolve();
    };
    this.#inFlight = true;
    try {
      this.#log.append(save.hardState, save.entries, done);
    } catch (error) {
      done(error as Error); // nothing is in flight
    }
  }
}

function merge(earlier: Save, later: Save): Save {
  return { hardState: later.hardState, entries: replaceFrom(earlier.entries, later.entries) };
}

function replaceFrom(earlier: readonly Entry[], later: readonly Entry[]): readonly Entry[] {
  const first = later[0];
  if (first === undefined) return earlier;
  return [...earlier.filter((entry) => entry.index < first.index), ...later];
}
