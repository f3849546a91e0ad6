import { setImmediate as yieldToTimers } from "node:timers/promises";
import type { GroupEntry } from "../../consensus/group.ts";
import { encodeCommand, encodeProposed } from "../../core/codec.ts";
import type { Command, Outcome } from "../../core/commands.ts";
import { FEATURE_LEVEL } from "../../core/features.ts";
import type { ByteString, EpochCode, Inode, RegionIndex, SessionId, SliceId } from "../../core/ids.ts";
import { ROOT_INODE } from "../../core/ids.ts";
import { type Applied, Machine } from "../../meta-server/machine/machine.ts";
import { openDataDirectory } from "../../meta-server/storage/data-directory.ts";
import { randomFrom } from "../random.ts";

/** The volume to generate: `inodes` inodes besides the root, of which `bigDirectory` files are in one directory. */
export interface Plan {
  readonly volume: string;
  readonly regions: readonly string[];
  /** The region (the primary) and the member whose data directory is written. */
  readonly region: string;
  readonly member: number;
  readonly dataDir: string;
  readonly inodes: number;
  readonly bigDirectory: number;
  readonly onProgress?: (made: number) => void;
}

export interface Generated {
  readonly uuid: string;
  /** Directories with DIRECTORY_FILES files each, named by `fileName`. */
  readonly directories: readonly Inode[];
  readonly big: Inode;
  readonly stateHash: string;
}

export const DIRECTORY_FILES = 1_000;
const BATCH = 512;
const UUID = "00000000-0000-4000-8000-000000000000";
const SESSION = 1 as SessionId;
const INTERNAL = 0 as SessionId;
const GRANT = 65_536;
/** Long ago, so that no mirror needs a log that reaches back to it. */
const FIRST_SECOND = 1_600_000_000;
/** A shard of a training set: one slice of one block. */
const SLICE_BYTES = 1_000_000;

export function fileName(file: number): string {
  return `sample-${file.toString().padStart(8, "0")}.jpg`;
}

/**
 * Writes a volume of any size as one member's data directory, as fast as commands can be applied: they go through the
 * machine as if they were committed, without a group. Every other file has a few hundred bytes inline, the rest have one
 * slice each. Deterministic: the same plan gives the same state hash.
 */
export async function generate(plan: Plan): Promise<Generated> {
  const { volume, region, member } = plan;
  const stores = await openDataDirectory(plan.dataDir, { volume, region, member });
  const onError = (error: Error) => {
    throw error;
  };
  const machine = await Machine.open(stores.state, { region, retain: { hours: 1, gib: 1 }, onError });
  const maker = new Maker(machine, plan);
  const generated = await maker.run();
  const at = { index: machine.appliedIndex, term: 1 };
  await stores.log.reset(at);
  await new Promise<void>((resolve, reject) => {
    const hardState = { term: at.term, vote: 0, commit: at.index };
    stores.log.append(hardState, [], (error) => (error === undefined ? resolve() : reject(error)));
  });
  await stores.log.close();
  await machine.close();
  return { ...generated, uuid: UUID };
}

class Maker {
  readonly #machine: Machine;
  readonly #plan: Plan;
  readonly #random = randomFrom(1);
  readonly #noise = Buffer.alloc(1 << 16);
  readonly #region: RegionIndex;
  #index = 0;
  #request = 0;
  #made = 0;
  #slices = { next: 0, left: 0 };

  constructor(machine: Machine, plan: Plan) {
    this.#machine = machine;
    this.#plan = plan;
    this.#region = plan.regions.indexOf(plan.region) as RegionIndex;
    for (let at = 0; at < this.#noise.length; at += 4) this.#noise.writeUInt32LE(this.#draw(2 ** 32), at);
  }

  async run(): Promise<Omit<Generated, "uuid">> {
    const { volume, regions, inodes, bigDirectory } = this.#plan;
    const primary = this.#region;
    await this.#apply([{ kind: "format", uuid: UUID, volume, regions, primary, features: FEATURE_LEVEL }]);
    await this.#apply([{ kind: "openSession", session: SESSION, client: "generator", region: primary }]);
    const [big] = await this.#makeDirectories(["big"]);
    const count = Math.max(1, Math.floor((inodes - bigDirectory - 2) / (DIRECTORY_FILES + 1)));
    const names = Array.from({ length: count }, (_, i) => `class-${i.toString().padStart(6, "0")}`);
    const directories = await this.#makeDirectories(names);
    for (let first = 0; first < bigDirectory; first += BATCH)
      await this.#makeFiles(big!, first, Math.min(BATCH, bigDirectory - first), false);
    for (const directory of directories) {
      for (let first = 0; first < DIRECTORY_FILES; first += BATCH)
        await this.#makeFiles(directory, first, Math.min(BATCH, DIRECTORY_FILES - first), true);
    }
    return { directories, big: big!, stateHash: this.#machine.stateHash };
  }

  async #makeDirectories(names: readonly string[]): Promise<Inode[]> {
    const made: Inode[] = [];
    for (let at = 0; at < names.length; at += BATCH)
      made.push(...(await this.#make(names.slice(at, at + BATCH).map((name) => make(ROOT_INODE, name, "directory")))));
    return made;
  }

  async #makeFiles(parent: Inode, first: number, count: number, filled: boolean): Promise<void> {
    const files = await this.#make(Array.from({ length: count }, (_, i) => make(parent, fileName(first + i), "file")));
    if (!filled) return;
    if (this.#slices.left < count) await this.#grant();
    await this.#apply(files.map((inode, i) => this.#write(inode, i % 2 === 0)));
  }

  async #make(commands: Command[]): Promise<Inode[]> {
    const outcomes = await this.#apply(commands);
    this.#made += commands.length;
    this.#plan.onProgress?.(this.#made);
    return outcomes.map((outcome) => (outcome as { attributes: { inode: Inode } }).attributes.inode);
  }

  async #grant(): Promise<void> {
    const [outcome] = await this.#apply([{ kind: "grantSlices", count: GRANT }]);
    const { grant } = outcome as { grant: { first: SliceId; count: number } };
    this.#slices = { next: grant.first, left: grant.count };
  }

  #draw(below: number): number {
    return Math.floor(this.#random() * below);
  }

  #write(inode: Inode, inline: boolean): Command {
    if (inline) {
      const from = this.#draw(this.#noise.length - 512);
      const data = this.#noise.subarray(from, from + 64 + this.#draw(448));
      return { kind: "write", inode, extents: [{ kind: "inline", offset: 0, data }] };
    }
    this.#slices.left -= 1;
    const id = this.#slices.next++ as SliceId;
    const slice = { id, bytes: SLICE_BYTES, home: this.#region, crc32c: [this.#draw(2 ** 32)] };
    return { kind: "write", inode, extents: [{ kind: "slice", offset: 0, slice }] };
  }

  /** Applies commands in one turn. @throws Error for a command that fails. */
  async #apply(commands: readonly Command[]): Promise<Outcome[]> {
    const entries = commands.map((command): GroupEntry => {
      this.#index += 1;
      return { index: this.#index, term: 1, kind: "application", data: this.#encode(command) };
    });
    const outcomes = this.#machine.apply(entries).map((result, i) => {
      const applied = result as Applied;
      if (applied.taken && applied.outcome.ok) return applied.outcome;
      throw new Error(`${commands[i]!.kind}: ${JSON.stringify(applied)}`);
    });
    await this.#machine.ready();
    await yieldToTimers(); // the store batches turns with a timer
    return outcomes;
  }

  #encode(command: Command): Uint8Array {
    // Only commands that need a session's grants are sent in a session.
    const ofSession = command.kind === "grantSlices" || (command.kind === "write" && hasSlice(command));
    const request = ofSession ? ++this.#request : 0;
    const session = ofSession ? SESSION : INTERNAL;
    const epoch = this.#machine.version.epoch as EpochCode;
    const now = { seconds: FIRST_SECOND + Math.floor(this.#index / 1000), nanoseconds: (this.#index % 1000) * 1e6 };
    return encodeProposed({ epoch, now, session, request, lowWater: request }, encodeCommand(command));
  }
}

function hasSlice(command: Extract<Command, { kind: "write" }>): boolean {
  return command.extents.some((extent) => extent.kind === "slice");
}

function make(parent: Inode, name: string, inodeKind: "file" | "directory"): Command {
  const mode = inodeKind === "file" ? 0o644 : 0o755;
  const target = "" as ByteString;
  return { kind: "make", parent, name: name as ByteString, inodeKind, mode, uid: 1000, gid: 1000, device: 0, target };
}
