import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { encodeCommand, encodeProposed } from "../../../core/codec.ts";
import type { Command } from "../../../core/commands.ts";
import type { EpochCode, Inode, RegionIndex, SessionId, SliceId } from "../../../core/ids.ts";
import { encodeLocal, type LocalEntry } from "../../../meta-server/machine/local-entries.ts";
import { Machine } from "../../../meta-server/machine/machine.ts";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { ReplacedStates } from "../../../meta-server/roles/follower/replaced-states.ts";
import { AgentService } from "../../../meta-server/services/agent/service.ts";
import { type DataDirectory, openDataDirectory } from "../../../meta-server/storage/data-directory.ts";
import type { GarbageSlices } from "../../../proto/generated/agent.ts";
import { makeCommand } from "../raw-client.ts";

const EPOCH = 16 as EpochCode;
const SESSION = 1 as SessionId;
const FILE = (16 * 2 ** 30 + 1) as Inode;

/** A region's state on a disk, and how its log goes on. */
class Region {
  data!: DataDirectory;
  machine!: Machine;
  readonly #directory: string;
  #index = 0;
  #request = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async open(): Promise<void> {
    this.data = await openDataDirectory(this.#directory, { volume: "test", region: "gcp", member: 1 });
    const onError = (error: Error) => {
      throw error;
    };
    const options = { region: "gcp", retain: { hours: 1, gib: 1 }, onError };
    this.machine = await Machine.open(this.data.state, options);
  }

  async close(): Promise<void> {
    await this.data.log.close();
    await this.machine.close();
  }

  local(entry: LocalEntry): void {
    this.#apply(encodeLocal(entry));
  }

  command(command: Command, { session = SESSION, epoch = EPOCH } = {}): void {
    const request = session === 0 ? 0 : ++this.#request;
    const now = { seconds: 1, nanoseconds: 0 };
    const stamp = { epoch, now, session, request, lowWater: request };
    const [applied] = this.#apply(encodeProposed(stamp, encodeCommand(command)));
    expect(applied).toMatchObject({ taken: true, outcome: { ok: true } });
  }

  #apply(data: Uint8Array): unknown[] {
    return this.machine.apply([{ index: ++this.#index, term: 1, kind: "application", data }]);
  }
}

let directory: string;
let primary: Region;
let mirror: Region;
/** The mirror's leader: it stops leading after this many entries. */
let entriesLeft: number;
let sorted: Extract<LocalEntry, { kind: "sorted" }>[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-sorted-"));
  [primary, mirror] = [new Region(join(directory, "aws")), new Region(join(directory, "gcp"))];
  entriesLeft = Number.POSITIVE_INFINITY;
  sorted = [];
  for (const region of [primary, mirror]) await region.open();
  const regions = ["aws", "gcp"];
  const format = {
    kind: "format",
    uuid: "u",
    volume: "test",
    regions,
    primary: 0 as RegionIndex,
    features: 1,
  } as const;
  for (const region of [primary, mirror]) region.command(format, { session: 0 as SessionId, epoch: 0 as EpochCode });
  both({ kind: "openSession", session: SESSION, client: "c", region: 0 as RegionIndex });
  both({ ...makeCommand(1, "file") });
  both({ kind: "grantSlices", count: 3_000 });
});

afterEach(async () => {
  for (const region of [primary, mirror]) await region.close();
  await rm(directory, { recursive: true });
});

function both(command: Command, options: { session?: SessionId } = {}): void {
  for (const region of [primary, mirror]) region.command(command, options);
}

function sliceId(number: number): SliceId {
  return (16 * 2 ** 30 + number) as SliceId;
}

/** Writes slices, of ten bytes each, one after the other from the file's beginning. */
function write(first: number, count = 1): Command {
  const extents = Array.from({ length: count }, (_, i) => {
    const slice = { id: sliceId(first + i), bytes: 10, home: 0 as RegionIndex, crc32c: [1] };
    return { kind: "slice", offset: i * 10, slice } as const;
  });
  return { kind: "write", inode: FILE, extents };
}

/** The mirror loads the primary's present state as this generation, and makes it the live one. */
async function bootstrap(generation: number, { flips = true } = {}): Promise<void> {
  const { pages, release } = await primary.machine.volumeSnapshot();
  let keys = 0;
  for await (const page of pages) {
    const pairs = page.map(([key, value]) => [key, Uint8Array.from(value)] as const);
    mirror.local({ kind: "load", generation, nowMs: 0, pairs });
    keys += pairs.length;
  }
  await release();
  const { version, stateHash } = primary.machine;
  if (!flips) return;
  mirror.local({ kind: "flip", generation, replaces: mirror.machine.version.epoch, version, stateHash, keys });
  expect(mirror.machine.facts.generation).toBe(generation);
}

function context(): ServerContext {
  const group = { leading: true };
  const proposer = {
    local: async (entry: LocalEntry) => {
      if (entriesLeft === 0) return false;
      entriesLeft -= 1;
      group.leading = entriesLeft > 0;
      if (entry.kind === "sorted") sorted.push(entry);
      mirror.local(entry);
      return true;
    },
  };
  const volume = { volume: "test", gc: { graceMs: 0 } };
  return { volume, region: "gcp", group, machine: mirror.machine, proposer } as unknown as ServerContext;
}

/** What the mirror's agents are asked to delete, once the mirror has reported what it has applied. */
async function garbage(): Promise<number[]> {
  await mirror.machine.ready();
  const request = { volume: "test", after: 0, limit: 100 };
  const slices: number[] = [];
  for (;;) {
    const page = await new Promise<GarbageSlices["slices"]>((resolve, reject) => {
      new AgentService(context()).handlers.listGarbage({ request } as never, (error, answer) =>
        answer ? resolve(answer.slices) : reject(error),
      );
    });
    if (page.length === 0) return slices;
    slices.push(...page.map(({ id }) => id));
    request.after = slices.at(-1)!;
  }
}

function reportProgress(): void {
  const { version } = mirror.machine;
  mirror.command({ kind: "regionProgress", region: 1 as RegionIndex, version }, { session: 0 as SessionId });
}

test("slices that were dropped while a mirror was away are garbage there once every region is past the flip (defect 21)", async () => {
  both(write(1, 3));
  const { version } = mirror.machine;
  both({ kind: "regionProgress", region: 1 as RegionIndex, version }, { session: 0 as SessionId });
  primary.command(write(4, 2)); // in the place of the slices 1 and 2
  await bootstrap(2);
  await new ReplacedStates(context()).clear();
  expect(await garbage()).toEqual([]);
  reportProgress();
  expect(await garbage()).toEqual([sliceId(1), sliceId(2)]);
});

test("garbage of the replaced state stays garbage, and what the live one drops before it is sorted counts from then on (defect 21)", async () => {
  both(write(1, 3));
  both(write(4)); // drops slice 1
  await bootstrap(2);
  reportProgress();
  mirror.command(write(5)); // drops slice 4
  primary.command(write(5));
  await new ReplacedStates(context()).clear();
  expect(await garbage()).toEqual([sliceId(1)]);
  reportProgress();
  expect(await garbage()).toEqual([sliceId(1), sliceId(4)]);
});

test("sorting survives a crash after any entry, and goes on after the last slice; then the old state is deleted (defect 21)", async () => {
  for (let first = 1; first < 2_500; first += 500) both(write(first, 500));
  primary.command(write(2_501, 500)); // the file held the slices from 2,001 on
  await bootstrap(2);
  const oldKeys = async () => (await mirror.data.state.range("\0\x01", "\0\x02", 10)).length;
  let leaders = 0;
  for (; mirror.machine.facts.sorting.length > 0; leaders++) {
    expect(leaders).toBeLessThan(10);
    entriesLeft = 1;
    await new ReplacedStates(context()).clear();
    if (mirror.machine.facts.sorting.length > 0) await mirror.machine.sweep();
    expect(await oldKeys()).toBeGreaterThan(0);
    await mirror.close();
    await mirror.open();
  }
  expect(leaders).toBeGreaterThan(2);
  const all = Array.from({ length: 2_500 }, (_, i) => sliceId(i + 1));
  expect(sorted.flatMap((entry) => entry.garbage.map(({ slice }) => slice))).toEqual(all); // none came twice
  entriesLeft = Number.POSITIVE_INFINITY;
  await new ReplacedStates(context()).clear();
  expect(await oldKeys()).toBe(0);
  reportProgress();
  expect(await garbage()).toEqual(all);
});

test("a state that is replaced before the one before it is sorted: both are sorted (defect 21)", async () => {
  both(write(1, 3));
  primary.command(write(4));
  await bootstrap(2);
  primary.command(write(5, 2));
  await bootstrap(3);
  await new ReplacedStates(context()).clear();
  reportProgress();
  expect(await garbage()).toEqual([sliceId(1), sliceId(2), sliceId(4)]);
});

test("a state with changes that the new one lacks makes no garbage: another history may come to name its slices (defect 21)", async () => {
  both(write(1));
  mirror.command(write(2)); // drops slice 1, which the primary's state names
  await bootstrap(2);
  await new ReplacedStates(context()).clear();
  reportProgress();
  expect(await garbage()).toEqual([]);
  primary.command(write(2));
  expect((await mirror.data.state.range("\0\x01", "\0\x02", 10)).length).toBe(0);
});

test("garbage stays garbage while a snapshot is loaded that names it, until that is the live state (defect 21)", async () => {
  both(write(1));
  mirror.command(write(2));
  reportProgress();
  await bootstrap(2, { flips: false });
  expect(await garbage()).toEqual([sliceId(1)]);
  await bootstrap(3);
  mirror.command(makeCommand(1, "later")); // past the sequence at which the other history dropped it
  reportProgress();
  expect(await garbage()).toEqual([]);
});
