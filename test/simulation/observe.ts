/** Feeds the checkers with every turn of every Raft and machine, and with every write that becomes durable. */

import { type Configuration, decodeConfiguration } from "../../consensus/raft/configuration.ts";
import { decodeEntry } from "../../consensus/raft/entry.ts";
import { Raft } from "../../consensus/raft/raft.ts";
import { type EpochCode, epochRegion } from "../../core/ids.ts";
import { Machine, type TakenEntry } from "../../meta-server/machine/machine.ts";
import { RaftChecker } from "./checks/raft-checker.ts";
import { show, showEpoch, VolumeChecker } from "./checks/volume-checker.ts";
import { type Cluster, MEMBERS, REGIONS, type Region, type SimulatedServer } from "./cluster.ts";
import { currentWorld } from "./environment/globals.ts";
import type { StoredLevel } from "./environment/stored-level.ts";
import { invariant } from "./environment/world.ts";

const INDEX_KEY_BYTES = 8;
const HARD_STATE = "\xffhardState";
const BASE = "\xffbase";

/** A server's production objects, as last observed. */
export interface ServerState {
  readonly server: SimulatedServer;
  raft: Raft | undefined;
  machine: Machine | undefined;
  /** The process that `raft` belongs to: a restarted server has no Raft yet. */
  process: SimulatedServer["host"]["process"];
}

let observers: Observers | undefined;

/** Hooks into the production classes, once per Node process. */
function watchClasses(): void {
  const takeReady = Raft.prototype.takeReady;
  Raft.prototype.takeReady = function (this: Raft, bytesMax: number) {
    const ready = takeReady.call(this, bytesMax);
    observers?.raftTurn(this, ready);
    return ready;
  };
  const open = Machine.open;
  Machine.open = async (store, options) => {
    const machine = await open.call(Machine, store, options);
    observers?.machineOpened(machine);
    return machine;
  };
}

watchClasses();

export class Observers {
  readonly volumeChecker: VolumeChecker;
  readonly raftCheckers: Readonly<Record<Region, RaftChecker>>;
  /** The last committed configuration; absent: still the initial one. */
  readonly configurations = new Map<Region, Configuration>();
  readonly #states = new Map<string, ServerState>();
  readonly #newcomers = new Set<SimulatedServer>();
  /** Called when a member has become leader. */
  onElected: (server: SimulatedServer) => void = () => {};
  /** Called when a region applies a part of another region's snapshot. */
  onBootstrap: (region: Region) => void = () => {};

  /** When a region first committed that a later epoch has begun, in the logical time of the clients' history. */
  readonly fences: { readonly region: Region; readonly epoch: number; readonly at: number }[] = [];
  readonly #tick: () => number;

  constructor(cluster: Cluster, tick: () => number) {
    this.#tick = tick;
    this.volumeChecker = new VolumeChecker({ nowMs: () => cluster.world.nowMs, tick });
    this.raftCheckers = Object.fromEntries(REGIONS.map((name) => [name, new RaftChecker(name)])) as Record<
      Region,
      RaftChecker
    >;
    for (const server of cluster.servers) this.watch(server);
    observers = this;
  }

  watch(server: SimulatedServer): void {
    this.#states.set(server.host.name, { server, raft: undefined, machine: undefined, process: undefined });
    server.disk.onDurable = (path, puts) => {
      if (path.endsWith("/log")) this.#guard(() => this.#logWritten(server, path, puts));
    };
  }

  /** The server's disk was replaced by an empty one. */
  diskReplaced(server: SimulatedServer): void {
    this.raftCheckers[server.region].forget(server.member);
    this.#newcomers.add(server);
  }

  /** Whether a server has lost its disk, and does not have again what it had acknowledged. */
  isNewcomer(server: SimulatedServer): boolean {
    return this.#newcomers.has(server);
  }

  /** Whether a server is a member of its group, by the last committed configuration. */
  isMember({ region, member, isRetired }: SimulatedServer): boolean {
    const members = this.configurations.get(region)?.members;
    return !isRetired && (members?.some(({ id }) => id === member) ?? member <= MEMBERS);
  }

  close(): void {
    observers = undefined;
  }

  stateOf(server: SimulatedServer): ServerState {
    return this.#states.get(server.host.name)!;
  }

  #current(): ServerState | undefined {
    const { current } = currentWorld();
    return current?.alive === true ? this.#states.get(current.host.name) : undefined;
  }

  /** Reports a violation to the world: production code must not catch it as its own error. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      currentWorld().reportViolation(error as Error);
    }
  }

  raftTurn(raft: Raft, ready: ReturnType<Raft["takeReady"]>): void {
    const state = this.#current();
    if (state === undefined) return;
    state.raft = raft;
    state.process = state.server.host.process;
    this.#guard(() => this.#raftTurn(state, raft, ready));
  }

  #raftTurn(state: ServerState, raft: Raft, ready: ReturnType<Raft["takeReady"]>): void {
    const group = this.raftCheckers[state.server.region];
    const before = group.elections;
    group.observe(raft);
    for (const { index, term, kind, data, encoded } of ready.committed) {
      group.observeCommitted(raft.id, index, term, encoded);
      if (kind === "configuration") this.#configured(state.server.region, decodeConfiguration(index, data));
    }
    if (group.elections > before) this.onElected(state.server);
  }

  #configured(region: Region, configuration: Configuration): void {
    const known = this.configurations.get(region);
    if (known === undefined || configuration.index > known.index) this.configurations.set(region, configuration);
  }

  machineOpened(machine: Machine): void {
    const state = this.#current();
    if (state === undefined) return;
    state.machine = machine;
    const { name } = state.server.host;
    const { process } = state.server.host;
    this.#guard(() => this.volumeChecker.observeHash(name, machine.version, machine.stateHash));
    let fenceBefore = machine.facts.fence;
    machine.onTurn((turn) => {
      if (process?.alive !== true) return;
      const { fence } = machine.facts;
      if (fence > fenceBefore) this.fences.push({ region: state.server.region, epoch: fence, at: this.#tick() });
      const isKnownFence = fenceBefore;
      fenceBefore = fence;
      if (machine.facts.lastGeneration > machine.facts.generation) this.onBootstrap(state.server.region);
      this.#guard(() => {
        for (const entry of turn.taken) {
          this.#checkFence(state.server, entry, isKnownFence);
          this.volumeChecker.observeEntry(name, entry);
        }
        this.volumeChecker.observeHash(name, turn.version, turn.stateHash);
      });
    });
  }

  /** A region that is fenced takes no command in an epoch of its own before the one that fenced it. */
  #checkFence({ host, region }: SimulatedServer, { version }: TakenEntry, fence: number): void {
    invariant(
      "a fence is final",
      version.epoch >= fence || REGIONS[epochRegion(version.epoch)] !== region,
      () => `${host.name} has taken ${show(version)} after the fence for epoch ${showEpoch(fence as EpochCode)}`,
    );
  }

  #logWritten(server: SimulatedServer, path: string, puts: ReadonlyMap<string, Uint8Array | undefined>): void {
    const level = server.disk.openLevel(path);
    for (const [key, value] of puts) {
      if (value === undefined) continue;
      if (key === HARD_STATE) this.#hardStateWritten(server, value);
      else if (isIndexKey(key)) this.#entryWritten(server, level, indexOf(key), value);
    }
  }

  #hardStateWritten(server: SimulatedServer, value: Uint8Array): void {
    const { term, newcomer } = JSON.parse(Buffer.from(value).toString());
    this.raftCheckers[server.region].observeHardState(server.member, term);
    if (newcomer === false) this.#newcomers.delete(server);
  }

  #entryWritten(server: SimulatedServer, level: StoredLevel, index: number, encoded: Uint8Array): void {
    const group = this.raftCheckers[server.region];
    const { term, kind } = decodeEntry(index, encoded);
    const entry = { index, term, isNoop: kind === "noop", encoded };
    group.observeStoredEntry(server.member, entry, termAt(level, index - 1));
    if (entry.isNoop && group.leaderOf(term) === server.member) {
      group.observeLeadership(server.member, entry, (at) => termAt(level, at), baseOf(level).index);
    }
  }
}

function termAt(level: StoredLevel, index: number): number | undefined {
  const stored = level.map.get(indexKey(index));
  if (stored !== undefined) return decodeEntry(index, stored).term;
  const base = baseOf(level);
  return base.index === index ? base.term : undefined;
}

function baseOf(level: StoredLevel): { readonly index: number; readonly term: number } {
  const stored = level.map.get(BASE);
  return stored === undefined ? { index: 0, term: 0 } : JSON.parse(Buffer.from(stored).toString());
}

function isIndexKey(key: string): boolean {
  return key.length === INDEX_KEY_BYTES && key.charCodeAt(0) === 0;
}

function indexOf(key: string): number {
  return Buffer.from(key, "latin1").readUIntBE(2, 6);
}

function indexKey(index: number): string {
  const key = Buffer.alloc(INDEX_KEY_BYTES);
  key.writeUIntBE(index, 2, 6);
  return key.toString("latin1");
}
