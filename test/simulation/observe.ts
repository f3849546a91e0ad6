/** What the checkers see: every turn of every Raft, every turn of every machine, and what becomes durable on every disk. */

import { type Configuration, decodeConfiguration } from "../../consensus/raft/configuration.ts";
import { decodeEntry } from "../../consensus/raft/entry.ts";
import { Raft } from "../../consensus/raft/raft.ts";
import { Machine } from "../../meta-server/machine/machine.ts";
import { RaftTruth } from "./checks/raft-truth.ts";
import { VolumeTruth } from "./checks/volume-truth.ts";
import { type House, MEMBERS, REGIONS, type Region, type SimulatedServer } from "./house.ts";
import { world } from "./stage/globals.ts";
import type { StoredLevel } from "./stage/stored-level.ts";

const INDEX_KEY_BYTES = 8;
const HARD_STATE = "\xffhardState";
const BASE = "\xffbase";

/** What is to be seen of a server from outside, while it lives. */
export interface Seen {
  readonly server: SimulatedServer;
  raft: Raft | undefined;
  machine: Machine | undefined;
  /** That of the host in which `raft` was seen: a server that starts again has none at first. */
  life: SimulatedServer["host"]["life"];
}

let observers: Observers | undefined;

/** Once in a process: production's own classes, each of whose turns is looked at. */
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
  readonly truth: VolumeTruth;
  readonly groups: Readonly<Record<Region, RaftTruth>>;
  /** As last committed; absent: as it began. */
  readonly configurations = new Map<Region, Configuration>();
  readonly #seen = new Map<string, Seen>();
  /** Called when a member has begun to lead. */
  onElected: (server: SimulatedServer) => void = () => {};
  /** Called when a region's leader has taken a part of a snapshot of the other one. */
  onBootstrap: (region: Region) => void = () => {};

  constructor(house: House, moment: () => number) {
    this.truth = new VolumeTruth({ nowMs: () => house.world.nowMs, moment });
    this.groups = Object.fromEntries(REGIONS.map((name) => [name, new RaftTruth(name)])) as Record<Region, RaftTruth>;
    for (const server of house.servers) this.watch(server);
    observers = this;
  }

  watch(server: SimulatedServer): void {
    this.#seen.set(server.host.name, { server, raft: undefined, machine: undefined, life: undefined });
    server.disk.onWrite = (path, puts) => {
      if (path.endsWith("/log")) this.#look(() => this.#logWritten(server, path, puts));
    };
  }

  /** Whether a server is to have what its group has. */
  isMember({ region, member, isRetired }: SimulatedServer): boolean {
    const members = this.configurations.get(region)?.members;
    return !isRetired && (members?.some(({ id }) => id === member) ?? member <= MEMBERS);
  }

  close(): void {
    observers = undefined;
  }

  seen(server: SimulatedServer): Seen {
    return this.#seen.get(server.host.name)!;
  }

  #current(): Seen | undefined {
    const { current } = world();
    return current?.alive === true ? this.#seen.get(current.host.name) : undefined;
  }

  /** A truth that does not hold must not be taken for the server's own failure. */
  #look(run: () => void): void {
    try {
      run();
    } catch (error) {
      world().violated(error as Error);
    }
  }

  raftTurn(raft: Raft, ready: ReturnType<Raft["takeReady"]>): void {
    const seen = this.#current();
    if (seen === undefined) return;
    seen.raft = raft;
    seen.life = seen.server.host.life;
    this.#look(() => this.#raftTurn(seen, raft, ready));
  }

  #raftTurn(seen: Seen, raft: Raft, ready: ReturnType<Raft["takeReady"]>): void {
    const group = this.groups[seen.server.region];
    const before = group.elections;
    group.observe(raft);
    for (const { index, term, kind, data, encoded } of ready.committed) {
      group.committed(raft.id, index, term, encoded);
      if (kind === "configuration") this.#configured(seen.server.region, decodeConfiguration(index, data));
    }
    if (group.elections > before) this.onElected(seen.server);
  }

  #configured(region: Region, configuration: Configuration): void {
    const known = this.configurations.get(region);
    if (known === undefined || configuration.index > known.index) this.configurations.set(region, configuration);
  }

  machineOpened(machine: Machine): void {
    const seen = this.#current();
    if (seen === undefined) return;
    seen.machine = machine;
    const { name } = seen.server.host;
    const { life } = seen.server.host;
    this.#look(() => this.truth.hashed(name, machine.version, machine.stateHash));
    machine.onTurn((turn) => {
      if (life?.alive !== true) return;
      if (machine.facts.lastGeneration > machine.facts.generation) this.onBootstrap(seen.server.region);
      this.#look(() => {
        for (const entry of turn.taken) this.truth.taken(name, entry);
        this.truth.hashed(name, turn.version, turn.stateHash);
      });
    });
  }

  #logWritten(server: SimulatedServer, path: string, puts: ReadonlyMap<string, Uint8Array | undefined>): void {
    const group = this.groups[server.region];
    const level = server.disk.openLevel(path);
    for (const [key, value] of puts) {
      if (value === undefined) continue;
      if (key === HARD_STATE) group.savedTerm(server.member, JSON.parse(Buffer.from(value).toString()).term);
      else if (isIndexKey(key)) this.#entryWritten(server, level, indexOf(key), value);
    }
  }

  #entryWritten(server: SimulatedServer, level: StoredLevel, index: number, encoded: Uint8Array): void {
    const group = this.groups[server.region];
    const { term, kind } = decodeEntry(index, encoded);
    const entry = { index, term, isNoop: kind === "noop", encoded };
    group.wrote(server.member, entry, termAt(level, index - 1));
    if (entry.isNoop && group.leaderOf(term) === server.member) {
      group.leads(server.member, entry, (at) => termAt(level, at), baseOf(level).index);
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
