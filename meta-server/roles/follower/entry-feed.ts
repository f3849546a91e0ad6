import type { Group, Proposed } from "../../../consensus/group.ts";
import type { Applied } from "../../machine/machine.ts";

/** Entries proposed and not yet applied. Other proposals of this region need room in the group's queue as well. */
const IN_FLIGHT_MAX = 2_048;
/** Entries held: at the first number the stream is to pause, at the second it may continue. */
const HELD_MAX = 2_048;
const HELD_RESUME = 1_024;

export interface EntryFeedEvents {
  onFull(): void;
  onRoom(): void;
  /** An entry cannot be applied, or this server no longer leads. */
  onFailed(reason: string): void;
}

/**
 * Proposes the entries of a stream to the group in order, as fast as the group takes them. An entry that finds the group's
 * queue full is proposed again, with all that follow it: those were proposed without their predecessor and are refused.
 */
export class EntryFeed {
  readonly #group: Pick<Group, "propose">;
  readonly #events: EntryFeedEvents;
  /** Not applied yet. The first is number `#first`. */
  readonly #entries: Uint8Array[] = [];
  #first = 0;
  /** Number of the next entry to propose. */
  #next = 0;
  #inFlight = 0;
  /** Number of the first entry that found the queue full. */
  #busyFrom = Number.POSITIVE_INFINITY;
  #isFull = false;
  #isClosed = false;

  constructor(group: Pick<Group, "propose">, events: EntryFeedEvents) {
    this.#group = group;
    this.#events = events;
  }

  add(entry: Uint8Array): void {
    this.#entries.push(entry);
    if (!this.#isFull && this.#entries.length >= HELD_MAX) {
      this.#isFull = true;
      this.#events.onFull();
    }
    this.#feed();
  }

  /** Proposes again what found the queue full. To be called now and then. */
  retry(): void {
    if (this.#busyFrom === Number.POSITIVE_INFINITY || this.#inFlight > 0) return;
    this.#next = this.#busyFrom;
    this.#busyFrom = Number.POSITIVE_INFINITY;
    this.#feed();
  }

  close(): void {
    this.#isClosed = true;
    this.#entries.length = 0;
  }

  #feed(): void {
    while (!this.#isClosed && this.#busyFrom === Number.POSITIVE_INFINITY && this.#inFlight < IN_FLIGHT_MAX) {
      const entry = this.#entries[this.#next - this.#first];
      if (entry === undefined) return;
      const number = this.#next;
      this.#next += 1;
      this.#inFlight += 1;
      this.#group.propose(entry, (result) => {
        this.#inFlight -= 1;
        if (!this.#isClosed) this.#settle(number, result);
      });
    }
  }

  #settle(number: number, result: Proposed): void {
    if (!result.ok && result.reason === "busy") this.#busyFrom = Math.min(this.#busyFrom, number);
    else if (!result.ok) this.#events.onFailed(`an entry could not be proposed: ${result.reason}`);
    else if (number < this.#busyFrom) this.#applied(result.outcome as Applied);
  }

  #applied(applied: Applied): void {
    // A duplicate is an entry that an earlier stream had proposed and that was committed after all.
    if (!applied.taken && applied.refusal !== "duplicate") {
      this.#events.onFailed(`an entry was refused: ${applied.refusal}`);
      return;
    }
    this.#entries.shift();
    this.#first += 1;
    if (this.#isFull && this.#entries.length <= HELD_RESUME) {
      this.#isFull = false;
      this.#events.onRoom();
    }
    this.#feed();
  }
}
