import { pino } from "pino";
import type { Group, GroupEntry, GroupMember, MachineSnapshot, StateMachine } from "../../../meta-server/group.ts";
import type { Message } from "../../../meta-server/raft/messages.ts";
import { openGroup } from "../../../meta-server/raft-group.ts";
import type { LogStore } from "../../../meta-server/storage/log-store.ts";
import type { Transport } from "../../../meta-server/transport/transport.ts";
import { emptyDisk, type MemoryDisk, MemoryLog } from "../../storage/memory-log.ts";
import type { Network } from "./network.ts";
import type { Truth } from "./truth.ts";
import type { World } from "./world.ts";

const silent = pino({ level: "silent" });
const PART_ITEMS = 20;
/** What a server says it has made durable. */
const CLAIMS = new Set<Message["type"]>(["vote", "voteResponse", "appendAccepted"]);

/** Everything that a simulated machine has applied, and of that what its disk holds. */
interface Items {
  applied: number;
  texts: string[];
}

/** A member of the simulated group: the real group on a simulated disk, network and clock. */
export class SimulatedServer {
  readonly id: number;
  readonly disk: MemoryDisk = emptyDisk();
  group: Group | undefined;
  fatal: Error | undefined;
  pausedUntilMs = 0;
  diskMsMax = 2;
  /** How fast its clock runs. */
  clockRate = 1;
  restores = 0;
  readonly #members: readonly GroupMember[];
  readonly #world: World;
  readonly #network: Network;
  readonly #truth: Truth;
  readonly #wrapLog: (log: LogStore) => LogStore;
  readonly #tuning: { readonly electionTicks: number; readonly appendBytesMax: number };
  /** Called between steps of the turn where a crash is hardest to survive; may crash this server. */
  readonly #crashPoint: () => void;
  #items: Items = { applied: 0, texts: [] };
  #log: MemoryLog | undefined;
  #life = 0;

  constructor(options: {
    id: number;
    members: readonly GroupMember[];
    world: World;
    network: Network;
    truth: Truth;
    wrapLog: (log: LogStore) => LogStore;
    electionTicks: number;
    appendBytesMax: number;
    crashPoint: (server: SimulatedServer) => void;
  }) {
    this.id = options.id;
    this.#members = options.members;
    this.#world = options.world;
    this.#network = options.network;
    this.#truth = options.truth;
    this.#wrapLog = options.wrapLog;
    this.#tuning = { electionTicks: options.electionTicks, appendBytesMax: options.appendBytesMax };
    this.#crashPoint = () => options.crashPoint(this);
  }

  get isUp(): boolean {
    return this.#log !== undefined;
  }

  start(): void {
    const life = ++this.#life;
    const isAlive = () => this.#life === life;
    const isPaused = () => this.#world.nowMs < this.pausedUntilMs;
    const delay = (run: () => void) =>
      this.#world.after(this.#world.chance.between(0.1, this.diskMsMax), () => {
        this.#world.touchPromises();
        if (isAlive()) run();
      });
    this.#log = new MemoryLog(this.disk, delay);
    const options = {
      members: this.#members,
      self: this.id,
      log: this.#wrapLog(this.#watch(this.#log)),
      machine: this.#machine(isAlive, delay),
      transport: this.#transport(isAlive),
      timers: this.#world.timers(isAlive, isPaused, () => this.clockRate),
      random: () => this.#world.chance.next(),
      logger: silent,
      onFatal: (error: Error) => {
        this.fatal ??= error;
      },
      tuning: {
        ...this.#tuning,
        window: { messagesMax: 4, bytesMax: 600 },
        tailBytesMax: 1000,
        applyBytesMax: 300,
        cutStep: 10,
        keepEntries: 15,
        keepForSlowEntries: 40,
        proposalsMax: 50,
      },
    };
    openGroup(options).then(
      (group) => {
        if (isAlive()) this.group = group;
      },
      (error) => {
        if (isAlive()) this.fatal ??= error as Error;
      },
    );
    this.#world.touchPromises();
  }

  crash(): void {
    this.#life++;
    this.#log?.crash(this.#world.chance.happens(0.5));
    this.#log = undefined;
    this.group = undefined;
    this.pausedUntilMs = 0;
    this.#network.disconnect(this.id);
    this.#truth.crashed(this.id, this.disk);
  }

  #transport(isAlive: () => boolean): Transport {
    const transport = this.#network.transport(this.id, isAlive);
    const send = (messages: readonly Message[]) => {
      transport.send(messages);
      if (messages.some(({ type }) => CLAIMS.has(type))) this.#crashPoint();
    };
    return { ...transport, send };
  }

  /** Lets the checker see what becomes durable. */
  #watch(log: MemoryLog): LogStore {
    const watched: LogStore = Object.create(log, {});
    watched.append = (hardState, entries, done) =>
      log.append(hardState, entries, (error) => {
        this.#truth.wrote(this.id, this.disk, entries);
        done(error);
      });
    for (const name of ["begin", "read", "cut", "markRestoring", "reset", "close"] as const)
      Object.assign(watched, { [name]: log[name].bind(log) });
    return watched;
  }

  #machine(isAlive: () => boolean, delay: (run: () => void) => void): StateMachine {
    const truth = this.#truth;
    const { id } = this;
    let { applied } = this.#items;
    let texts = [...this.#items.texts];
    let room: Promise<void> | undefined;
    const store = () => {
      this.#items = { applied, texts: [...texts] };
    };
    const durable = () => this.#items.applied;
    const { chance } = this.#world;
    const restored = () => {
      this.restores++;
    };
    return {
      get appliedIndex() {
        return applied;
      },
      get durableIndex() {
        return durable();
      },
      retainFromIndex: Number.POSITIVE_INFINITY,
      apply: (entries: readonly GroupEntry[]) => {
        if (!isAlive()) return [];
        for (const entry of entries) {
          if (entry.index !== applied + 1) throw new Error(`violated: ${id} applied ${entry.index} after ${applied}`);
          applied = entry.index;
          truth.applied(id, entry);
          texts.push(entry.kind === "noop" ? "noop" : Buffer.from(entry.data).toString());
        }
        this.#world.after(chance.between(1, 2000), () => {
          if (isAlive()) store();
        });
        room = chance.happens(0.1) ? new Promise((resolve) => delay(resolve)) : undefined;
        return entries.map(({ index }) => index);
      },
      ready: () => room,
      snapshot: async (): Promise<MachineSnapshot> => {
        const taken = { applied, texts: [...texts] };
        async function* parts() {
          for (let i = 0; i < taken.texts.length; i += PART_ITEMS)
            yield Buffer.from(JSON.stringify(taken.texts.slice(i, i + PART_ITEMS)));
        }
        return { index: taken.applied, parts: parts(), release: async () => undefined };
      },
      restore: async (at, parts) => {
        const arrived: string[] = [];
        for await (const part of parts) arrived.push(...JSON.parse(Buffer.from(part).toString()));
        await new Promise<void>((resolve) => delay(resolve));
        if (!isAlive()) return;
        if (arrived.length !== at.index)
          throw new Error(`violated: a snapshot at ${at.index} has ${arrived.length} items`);
        applied = at.index;
        texts = arrived;
        store();
        restored();
        this.#crashPoint();
        for (const [i, text] of texts.entries())
          if (truth.textAt(i + 1) !== text) throw new Error(`violated: a snapshot holds ${text} at ${i + 1}`);
      },
      close: async () => undefined,
    };
  }
}
