/** What a leader knows of one follower, and how fast it may send to it. After etcd-io/raft's tracker. */

/**
 * - probe: where the logs agree is not known; one append at a time.
 * - replicate: appends are sent one after another without waiting, inside the window.
 * - snapshot: what it needs was cut from the log; nothing is sent until the snapshot has arrived or failed.
 */
export type ProgressState = "probe" | "replicate" | "snapshot";

export interface Window {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

export class Progress {
  /** Highest index known to be durable at the follower. */
  match = 0;
  next: number;
  state: ProgressState = "probe";
  /** Since it was last heard of, or since the leader's election. */
  silentTicks = 0;
  /** Probe: one is under way. A heartbeat's answer frees it, since appends may be lost. */
  probing = false;
  /** Entries for it are being read from the disk. */
  fetching = false;
  /** Highest heartbeat round it has answered. */
  round = 0;
  readonly #window: Window;
  #inFlight: { last: number; bytes: number }[] = [];
  #inFlightBytes = 0;

  constructor(next: number, window: Window) {
    this.next = next;
    this.#window = window;
  }

  /** Of entries sent and not confirmed. */
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

  /** @returns false for old news. */
  accepted(match: number): boolean {
    let freed = 0;
    while (freed < this.#inFlight.length && this.#inFlight[freed]!.last <= match)
      this.#inFlightBytes -= this.#inFlight[freed++]!.bytes;
    if (freed > 0) this.#inFlight.splice(0, freed);
    const news = match > this.match;
    if (news) this.match = match;
    this.next = Math.max(this.next, match + 1);
    if (this.state === "probe") this.become("replicate");
    if (this.state === "snapshot" && news) this.become("replicate");
    return news;
  }

  /** @returns false for old news. */
  rejected(rejected: number, agreeAt: number): boolean {
    if (this.state === "replicate" ? rejected <= this.match : rejected !== this.next - 1) return false;
    if (this.state === "replicate") this.become("probe");
    // It says it lacks what it had confirmed: late news, or a member that came back without its disk. Believe it.
    if (rejected <= this.match) this.match = 0;
    this.next = Math.max(Math.min(rejected, agreeAt + 1), this.match + 1);
    this.probing = false;
    return true;
  }

  /** An answer to a heartbeat says the way is open: one more may go even in a full window, in case all in it were lost. */
  heard(): void {
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
