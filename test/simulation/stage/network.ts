import type { Host, Life, World } from "./world.ts";

/** How long a sender repeats what is not confirmed before its connection breaks. */
const PATIENCE_MS = { low: 1_000, high: 8_000 };
const REPEAT_MS = 100;

/** What the network does to the parts of a connection's one direction. */
export interface PipeOptions {
  readonly from: Host;
  readonly to: Host;
  /** Messages of a stream whose receiver bears loss, repetition and another order: they get all three. */
  readonly unreliable: boolean;
  /** The way is broken, as one end has found out. */
  readonly onBroken: () => void;
}

/** Delays, loses, repeats, reorders; cuts single directions between hosts. Connections keep their order, as TCP does. */
export class Network {
  lossShare = 0;
  duplicateShare = 0;
  /** Of messages that take twenty times as long. */
  slowShare = 0;
  localMsMax = 2;
  wanMs = 20;
  readonly #world: World;
  readonly #cut = new Set<string>();
  /** Single directions whose loose messages wait in a queue until then. */
  readonly #held = new Map<string, number>();
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

  /** What is sent this way without a connection's order arrives then, and not before: all at once. */
  hold(from: string, to: string, untilMs: number): void {
    this.#held.set(`${from}>${to}`, untilMs);
  }

  heldUntilMs(from: Host, to: Host): number {
    return this.#held.size === 0 ? 0 : (this.#held.get(`${from.name}>${to.name}`) ?? 0);
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

  /** Connections between two hosts are reset. */
  reset(a: Host, b: Host): void {
    for (const pipe of [...this.#pipes]) {
      const { from, to } = pipe.options;
      if ((from === a && to === b) || (from === b && to === a)) pipe.break();
    }
  }

  delayMs(from: Host, to: Host): number {
    const { chance } = this.#world;
    const slow = chance.happens(this.slowShare) ? 20 : 1;
    const own =
      from.region === to.region ? chance.between(0.05, this.localMsMax) : this.wanMs * chance.between(0.9, 1.3);
    return own * slow;
  }
}

interface Parcel {
  readonly atMs: number;
  readonly deliver: () => void;
}

/** One direction of one connection. */
export class Pipe {
  readonly options: PipeOptions;
  readonly #network: Network;
  #line: Parcel[] = [];
  #arrivesMs = 0;
  #stalledMs = -1;
  readonly #patienceMs: number;
  #over = false;

  constructor(network: Network, options: PipeOptions) {
    this.#network = network;
    this.options = options;
    this.#patienceMs = network.world.chance.between(PATIENCE_MS.low, PATIENCE_MS.high);
  }

  /** `reliable`: never lost alone, and in order behind all that was sent so before. */
  send(deliver: () => void, reliable = true): void {
    if (this.#over) return;
    if (this.options.unreliable && !reliable) this.#sendLoose(deliver);
    else {
      const { world } = this.#network;
      const { from, to } = this.options;
      this.#arrivesMs = Math.max(this.#arrivesMs, world.nowMs + this.#network.delayMs(from, to));
      this.#line.push({ atMs: this.#arrivesMs, deliver });
      if (this.#line.length === 1) this.#next();
    }
  }

  close(): void {
    this.#over = true;
    this.#line = [];
    this.#network.forget(this);
  }

  break(): void {
    if (this.#over) return;
    this.close();
    this.options.onBroken();
  }

  #sendLoose(deliver: () => void): void {
    const { world, lossShare, duplicateShare } = this.#network;
    const { from, to } = this.options;
    const copies = world.chance.happens(duplicateShare) ? 2 : 1;
    const isCutNow = this.#network.isCut(from, to);
    for (let i = 0; i < copies; i++) {
      // Where on the way the cut is: before what waits in a queue there, or behind it.
      const passesFirst = world.chance.happens(0.5);
      if (passesFirst && isCutNow) continue;
      const arrivesMs = world.nowMs + this.#network.delayMs(from, to);
      world.at(Math.max(arrivesMs, this.#network.heldUntilMs(from, to)), undefined, () => {
        if (this.#over) return;
        if (!passesFirst && this.#network.isCut(from, to)) this.#stalled();
        else if (!world.chance.happens(lossShare)) {
          this.#stalledMs = -1;
          deliver();
        }
      });
    }
  }

  #next(): void {
    const first = this.#line[0];
    const { world } = this.#network;
    if (first !== undefined) world.at(Math.max(first.atMs, world.nowMs), undefined, () => this.#arrive());
  }

  #arrive(): void {
    if (this.#over) return;
    const { world, lossShare } = this.#network;
    const { from, to } = this.options;
    if (this.#network.isCut(from, to)) {
      this.#stalled();
      if (!this.#over) world.after(REPEAT_MS, () => this.#arrive());
      return;
    }
    if (world.chance.happens(lossShare / 4)) {
      world.after(REPEAT_MS, () => this.#arrive()); // lost, and sent again
      return;
    }
    this.#stalledMs = -1;
    while (!this.#over && this.#line.length > 0 && this.#line[0]!.atMs <= world.nowMs) this.#line.shift()!.deliver();
    this.#next();
  }

  /** Nothing gets through: after a while the connection is given up. */
  #stalled(): void {
    const { nowMs } = this.#network.world;
    if (this.#stalledMs < 0) this.#stalledMs = nowMs;
    if (nowMs - this.#stalledMs > this.#patienceMs) this.break();
  }
}

/** Runs a host's code for what has come in on the network: a turn of its event loop. */
export function turnOf(life: Life, run: () => void): void {
  if (!life.alive) return;
  const { world } = life.host;
  world.at(Math.max(world.nowMs, life.host.pausedUntilMs), life, run);
}
