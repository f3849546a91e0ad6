import type { Host, Process, World } from "./world.ts";

/** How long a sender retransmits without an acknowledgement before its connection breaks. */
const GIVE_UP_MS = { low: 1_000, high: 8_000 };
const RETRANSMIT_MS = 100;

/** One direction of a connection. */
export interface PipeOptions {
  readonly from: Host;
  readonly to: Host;
  /** Messages may be lost, duplicated and reordered, because their receiver tolerates it. */
  readonly unreliable: boolean;
  /** Called when the sender has given up. */
  readonly onBroken: () => void;
}

/**
 * Delays, loses, duplicates and reorders messages, and cuts single directions between hosts. Within a connection
 * messages stay in order, as in TCP.
 */
export class Network {
  lossProbability = 0;
  duplicateProbability = 0;
  /** The probability that a message takes twenty times as long. */
  slowProbability = 0;
  localMsMax = 2;
  wanMs = 20;
  readonly #world: World;
  readonly #cut = new Set<string>();
  /** Directions whose unordered messages are queued until then. */
  readonly #delayedUntil = new Map<string, number>();
  readonly #pipes = new Set<Pipe>();

  constructor(world: World) {
    this.#world = world;
  }

  get world(): World {
    return this.#world;
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  /** Queues unordered messages of one direction until then; they arrive all at once. */
  delayUntil(from: string, to: string, untilMs: number): void {
    this.#delayedUntil.set(`${from}>${to}`, untilMs);
  }

  delayedUntilMs(from: Host, to: Host): number {
    return this.#delayedUntil.size === 0 ? 0 : (this.#delayedUntil.get(`${from.name}>${to.name}`) ?? 0);
  }

  heal(): void {
    this.#cut.clear();
  }

  get isWhole(): boolean {
    return this.#cut.size === 0;
  }

  isCut(from: Host, to: Host): boolean {
    return this.#cut.size > 0 && this.#cut.has(`${from.name}>${to.name}`);
  }

  pipe(options: PipeOptions): Pipe {
    const pipe = new Pipe(this, options);
    this.#pipes.add(pipe);
    return pipe;
  }

  forget(pipe: Pipe): void {
    this.#pipes.delete(pipe);
  }

  /** Resets all connections between two hosts. @returns whether there was one */
  reset(a: Host, b: Host): boolean {
    let isReset = false;
    for (const pipe of [...this.#pipes]) {
      const { from, to } = pipe.options;
      if ((from === a && to === b) || (from === b && to === a)) {
        pipe.break();
        isReset = true;
      }
    }
    return isReset;
  }

  delayMs(from: Host, to: Host): number {
    const { prng } = this.#world;
    const slow = prng.chance(this.slowProbability) ? 20 : 1;
    const own = from.region === to.region ? prng.between(0.05, this.localMsMax) : this.wanMs * prng.between(0.9, 1.3);
    return own * slow;
  }
}

interface Message {
  readonly atMs: number;
  readonly deliver: () => void;
}

/** One direction of one connection: a queue of messages. */
export class Pipe {
  readonly options: PipeOptions;
  readonly #network: Network;
  #queue: Message[] = [];
  #lastArrivalMs = 0;
  #stalledSinceMs = -1;
  readonly #giveUpAfterMs: number;
  #over = false;

  constructor(network: Network, options: PipeOptions) {
    this.#network = network;
    this.options = options;
    this.#giveUpAfterMs = network.world.prng.between(GIVE_UP_MS.low, GIVE_UP_MS.high);
  }

  /** `reliable`: not lost while the connection lasts, and delivered in order with the other reliable messages. */
  send(deliver: () => void, reliable = true): void {
    if (this.#over) return;
    if (this.options.unreliable && !reliable) this.#sendUnordered(deliver);
    else {
      const { world } = this.#network;
      const { from, to } = this.options;
      this.#lastArrivalMs = Math.max(this.#lastArrivalMs, world.nowMs + this.#network.delayMs(from, to));
      this.#queue.push({ atMs: this.#lastArrivalMs, deliver });
      if (this.#queue.length === 1) this.#next();
    }
  }

  close(): void {
    this.#over = true;
    this.#queue = [];
    this.#network.forget(this);
  }

  break(): void {
    if (this.#over) return;
    this.close();
    this.options.onBroken();
  }

  #sendUnordered(deliver: () => void): void {
    const { world, lossProbability, duplicateProbability } = this.#network;
    const { from, to } = this.options;
    const copies = world.prng.chance(duplicateProbability) ? 2 : 1;
    const isCutNow = this.#network.isCut(from, to);
    for (let i = 0; i < copies; i++) {
      // Whether the message passes the place of a cut before it is queued, or after.
      const passesFirst = world.prng.chance(0.5);
      if (passesFirst && isCutNow) continue;
      const arrivesMs = world.nowMs + this.#network.delayMs(from, to);
      world.at(Math.max(arrivesMs, this.#network.delayedUntilMs(from, to)), undefined, () => {
        if (this.#over) return;
        if (!passesFirst && this.#network.isCut(from, to)) this.#stall();
        else if (!world.prng.chance(lossProbability)) {
          this.#stalledSinceMs = -1;
          deliver();
        }
      });
    }
  }

  #next(): void {
    const first = this.#queue[0];
    const { world } = this.#network;
    if (first !== undefined) world.at(Math.max(first.atMs, world.nowMs), undefined, () => this.#arrive());
  }

  #arrive(): void {
    if (this.#over) return;
    const { world, lossProbability } = this.#network;
    const { from, to } = this.options;
    if (this.#network.isCut(from, to)) {
      this.#stall();
      if (!this.#over) world.after(RETRANSMIT_MS, () => this.#arrive());
      return;
    }
    if (world.prng.chance(lossProbability / 4)) {
      world.after(RETRANSMIT_MS, () => this.#arrive()); // lost and retransmitted
      return;
    }
    this.#stalledSinceMs = -1;
    while (!this.#over && this.#queue.length > 0 && this.#queue[0]!.atMs <= world.nowMs) this.#queue.shift()!.deliver();
    this.#next();
  }

  /** Nothing gets through: gives the connection up after a while. */
  #stall(): void {
    const { nowMs } = this.#network.world;
    if (this.#stalledSinceMs < 0) this.#stalledSinceMs = nowMs;
    if (nowMs - this.#stalledSinceMs > this.#giveUpAfterMs) this.break();
  }
}

/** Runs a host's handler of network input as a turn of its event loop. */
export function turnOf(process: Process, run: () => void): void {
  if (!process.alive) return;
  const { world } = process.host;
  world.at(Math.max(world.nowMs, process.host.pausedUntilMs), process, run);
}
