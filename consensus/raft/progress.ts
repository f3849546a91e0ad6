/** The leader's view of one follower's log, and the flow control of what is sent to it. After etcd-io/raft's tracker. */

/**
 * - probe: the leader does not know where the logs match; one append at a time.
 * - replicate: appends are pipelined, up to the window.
 * - snapshot: the next entry was compacted; no append is sent until the snapshot is installed or has failed.
 */
export type ProgressState = "probe" | "replicate" | "snapshot";

/** Bounds the appends in flight to one follower. */
export interface Window {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

export class Progress {
  /** Highest index known to be durable at the follower. */
  match = 0;
  /** Index of the next entry to send. */
  next: number;
  state: ProgressState = "probe";
  /** Since its last response, or since the leader's election. */
  silentTicks = 0;
  /** In state probe: an append is in flight. A heartbeat response also clears this, since the append may be lost. */
  probing = false;
  /** Its next entries are being read from the disk. */
  fetching = false;
  /** Highest heartbeat round that it has responded to. */
  round = 0;
  readonly #window: Window;
  #inFlight: { last: number; bytes: number }[] = [];
  #inFlightBytes = 0;

  constructor(next: number, window: Window) {
    this.next = next;
    this.#window = window;
  }

  /** Of entries sent but not acknowledged. */
  get unconfirmedBytes(): number {
    return this.#inFlightBytes;
  }

  get paused(): boolean {
    if (this.state === "snapshot" || this.fetching) return true;
    if (this.state === "probe") return this.probing;
    return this.#isFull;
  }

  get #isFull(): boolean {
    return this.#inFlight.length >= this.#window.messagesMax || this.#inFlightBytes >= this.#window.bytesMax;
  }

  sent(last: number, bytes: number): void {
    if (this.state === "probe") {
      this.probing = true;
      return;
    }
    this.next = last + 1;
    this.#inFlight.push({ last, bytes });
    this.#inFlightBytes += bytes;
  }

  /** @returns whether the follower's log advanced; false for a response that was overtaken by a later one */
  accepted(match: number): boolean {
    let freed = 0;
    while (freed < this.#inFlight.length && this.#inFlight[freed]!.last <= match)
      this.#inFlightBytes -= this.#inFlight[freed++]!.bytes;
    if (freed > 0) this.#inFlight.splice(0, freed);
    const advanced = match > this.match;
    if (advanced) this.match = match;
    this.next = Math.max(this.next, match + 1);
    if (this.state === "probe") this.become("replicate");
    if (this.state === "snapshot" && advanced) this.become("replicate");
    return advanced;
  }

  /** @returns false for a response that was overtaken by a later one */
  rejected(rejected: number, matchHint: number): boolean {
    if (this.state === "replicate" ? rejected <= this.match : rejected !== this.next - 1) return false;
    if (this.state === "replicate") this.become("probe");
    // It rejects what it had acknowledged: a reordered response, or a member that lost its disk. Probe again.
    if (rejected <= this.match) this.match = 0;
    this.next = Math.max(Math.min(rejected, matchHint + 1), this.match + 1);
    this.probing = false;
    return true;
  }

  /**
   * A heartbeat response: the follower is reachable. Frees a slot of a full window, in case all appends in it were
   * lost.
   */
  respondedToHeartbeat(): void {
    this.silentTicks = 0;
    this.probing = false;
    while (this.#isFull) this.#inFlightBytes -= this.#inFlight.shift()!.bytes;
  }

  become(state: ProgressState): void {
    this.state = state;
    this.probing = false;
    this.#inFlight = [];
    this.#inFlightBytes = 0;
    if (state !== "snapshot") this.next = this.match + 1;
  }
}
