import type { Disk } from "./disk.ts";
import type { World } from "./world.ts";

/** Wall time at the beginning of every run: in the past, so that no real clock can be mistaken for it. */
const EPOCH_MS = Date.UTC(2020, 0, 1);

/** One run of a process: what it has scheduled, and what is under way for it, ends with it. */
export class Life {
  readonly host: Host;
  alive = true;
  /** Its machine went with it: nobody is told. */
  silentEnd = false;
  /** Called at its end, whatever ended it. */
  readonly onEnd: (() => void)[] = [];

  constructor(host: Host) {
    this.host = host;
  }
}

/** A machine with a process on it: a metadata server, or a client. */
export class Host {
  readonly name: string;
  readonly region: string;
  readonly world: World;
  readonly disk: Disk | undefined;
  life: Life | undefined;
  /** Called by its own code between two steps of a turn: where a crash is hardest to survive. */
  onStep: (step: string) => void = () => {};
  pausedUntilMs = 0;
  /** What its processor takes to come to the next turn of the event loop. */
  turnMsMax = 0.05;
  /** Its wall clock is ahead by so much. */
  skewMs = 0;
  #rate = 1;
  #localMs = 0;
  #atMs = 0;
  #lastSoonMs = 0;

  constructor(world: World, name: string, region: string, disk?: Disk) {
    this.world = world;
    this.name = name;
    this.region = region;
    this.disk = disk;
    world.hosts.set(name, this);
  }

  begin(): Life {
    this.life = new Life(this);
    return this.life;
  }

  /** The process is gone, between two instructions: nothing that it scheduled or waits for ever comes. */
  end(silent = false): void {
    const { life } = this;
    if (life === undefined) return;
    life.silentEnd = silent;
    life.alive = false;
    this.life = undefined;
    this.pausedUntilMs = 0;
    for (const end of life.onEnd) end();
  }

  // Its clock

  /** How fast its clock runs. */
  get rate(): number {
    return this.#rate;
  }

  set rate(rate: number) {
    this.#localMs = this.monotonicMs;
    this.#atMs = this.world.nowMs;
    this.#rate = rate;
  }

  get monotonicMs(): number {
    return this.#localMs + (this.world.nowMs - this.#atMs) * this.#rate;
  }

  get wallMs(): number {
    return Math.floor(EPOCH_MS + this.monotonicMs + this.skewMs);
  }

  /** When the next turn of its event loop comes: in order. */
  soonMs(): number {
    const { world } = this;
    this.#lastSoonMs = Math.max(this.#lastSoonMs, world.nowMs + world.chance.between(0.001, this.turnMsMax));
    return this.#lastSoonMs;
  }
}
