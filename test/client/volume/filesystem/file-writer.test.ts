import { expect, test } from "vitest";
import { crc32c } from "../../../../base/crc32c.ts";
import { FileWriter, type WriterEnvironment } from "../../../../client/volume/filesystem/file-writer.ts";
import type { CommandSource, Done } from "../../../../client/volume/metadata/client-session.ts";
import type { Attributes, Command } from "../../../../core/commands.ts";
import type { ErrnoCode } from "../../../../core/errno.ts";
import { BLOCK_BYTES, type Inode, NO_VERSION, type RegionIndex, type SliceId } from "../../../../core/ids.ts";

const LEADER_TIME = { seconds: 9, nanoseconds: 0 };

type Write = Extract<Command, { kind: "write" }>;

/** A fake volume: takes the commands, stores the blocks, and fails where the test says so. */
class FakeVolume {
  readonly commands: Write[] = [];
  readonly changes: Command[] = [];
  readonly uploads: { region: number; slice: number; index: number; bytes: number }[] = [];
  readonly failures: ErrnoCode[] = [];
  readonly uploadFailures: string[] = [];
  /** As the last command has left them. */
  attributes = {} as Attributes;
  region = 0 as RegionIndex;
  memoryBytes = 0;
  grantsDropped = 0;
  failed: ErrnoCode[] = [];
  #slice = 100;
  #before: (() => void) | undefined;
  readonly writer: FileWriter;

  constructor() {
    const environment: WriterEnvironment = {
      blocks: {
        upload: async ({ region, slice, index, data }) => {
          const code = this.uploadFailures.shift();
          if (code !== undefined) return { code };
          this.uploads.push({ region, slice, index, bytes: data.length });
          return { crc32c: crc32c(data) };
        },
      } as WriterEnvironment["blocks"],
      takeSlice: async () => this.#slice++ as SliceId,
      primaryRegion: () => this.region,
      writeTimeoutMs: 2000,
      onUploadFailure: () => {},
      mutate: (source) => this.#mutate(source),
      dropGrants: () => {
        this.grantsDropped += 1;
      },
      now: () => ({ seconds: 1, nanoseconds: 0 }),
      onCommitted: () => {},
      onFailed: (_, error) => this.failed.push(error),
      onIdle: () => {},
      onMemory: (bytes) => {
        this.memoryBytes += bytes;
      },
    };
    this.writer = new FileWriter(5 as Inode, environment);
  }

  /** Called after a command was made and before it is carried out. */
  beforeNext(work: () => void): void {
    this.#before = work;
  }

  async #mutate(source: CommandSource): Promise<Done | ErrnoCode> {
    const command = typeof source === "function" ? await source() : source;
    if (typeof command === "string") return command;
    if (this.#before !== undefined) {
      const before = this.#before;
      this.#before = undefined;
      before();
      return this.#mutate(source);
    }
    const failure = this.failures.shift();
    if (failure !== undefined) return failure;
    if (command.kind === "write") this.commands.push(command);
    else this.changes.push(command);
    const ctime = (command.kind === "setattr" ? command.ctime : undefined) ?? LEADER_TIME;
    this.attributes = { ctime, changed: (this.attributes.changed ?? 0) + 1 } as Attributes;
    return { outcome: { ok: true, attributes: this.attributes }, version: NO_VERSION };
  }
}

const MIB = 1024 * 1024;

test("small writes go inline, several in one command, and nothing stays dirty", async () => {
  const volume = new FakeVolume();
  for (const offset of [0, 10_000, 20_000]) volume.writer.write(offset, new Uint8Array(1000).fill(7), false);
  expect(volume.memoryBytes).toBe(3 * 4096);
  await volume.writer.commit();
  expect(volume.commands.map(({ extents }) => extents.map(({ kind, offset }) => [kind, offset]))).toEqual([
    [
      ["inline", 0],
      ["inline", 10_000],
      ["inline", 20_000],
    ],
  ]);
  expect(volume.memoryBytes).toBe(0);
  expect(volume.writer.dirty).toBe(false);
});

test("full blocks are stored while the file is still being written; the command follows the last of them", async () => {
  const volume = new FakeVolume();
  for (let at = 0; at < 9; at++) volume.writer.write(at * MIB, new Uint8Array(MIB).fill(at), false);
  await expect.poll(() => volume.uploads.length).toBe(2);
  expect(volume.commands).toEqual([]);
  await volume.writer.commit();
  expect(volume.uploads.map(({ index, bytes }) => [index, bytes])).toEqual([
    [0, BLOCK_BYTES],
    [1, BLOCK_BYTES],
    [2, MIB],
  ]);
  const [extent] = volume.commands[0]!.extents;
  expect(extent).toMatchObject({ kind: "slice", offset: 0, slice: { bytes: 9 * MIB, home: 0 } });
});

test("When fsync or close returns, every block of the file is stored in the primary's bucket and the command that names it is committed, in this order", async () => {
  const volume = new FakeVolume();
  volume.uploadFailures.push("unavailable", "slowDown");
  volume.writer.write(0, new Uint8Array(MIB), false);
  await volume.writer.commit();
  expect(volume.uploads.length).toBe(1);
  expect(volume.commands.length).toBe(1);
});

test("blocks that are not committed when the primary moves are stored again in the new primary's bucket", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(BLOCK_BYTES + MIB), false);
  volume.beforeNext(() => {
    volume.region = 1 as RegionIndex;
  });
  await volume.writer.commit();
  expect(volume.uploads.map(({ region, slice }) => [region, slice])).toEqual([
    [0, 100],
    [0, 100],
    [1, 101],
    [1, 101],
  ]);
  expect(volume.commands[0]!.extents[0]).toMatchObject({ slice: { id: 101, home: 1 } });
});

test("after its id was refused a slice is stored under another id", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(MIB), false);
  volume.failures.push("ESTALE");
  await volume.writer.commit();
  expect(volume.grantsDropped).toBe(1);
  expect(volume.commands[0]!.extents[0]).toMatchObject({ slice: { id: 101 } });
  expect(volume.writer.errors).toBe(0);
});

test("a chunk with too much inline data gets slices instead", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(100), false);
  volume.failures.push("EOVERFLOW");
  await volume.writer.commit();
  expect(volume.commands[0]!.extents[0]).toMatchObject({ kind: "slice", slice: { bytes: 100 } });
});

test("a commit that fails is counted, and its bytes are dropped (seaweedfs#4485)", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(100), false);
  volume.failures.push("EDQUOT");
  await volume.writer.commit();
  expect([volume.writer.errors, volume.writer.error, volume.failed]).toEqual([1, "EDQUOT", ["EDQUOT"]]);
  expect(volume.writer.dirty).toBe(false);
  expect(volume.memoryBytes).toBe(0);
});

test("a bucket that stays away fails the commit in bounded time, and no command is sent (drive9#932)", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(MIB), false);
  for (let tries = 0; tries < 100; tries++) volume.uploadFailures.push("unavailable");
  await volume.writer.commit();
  expect(volume.commands).toEqual([]);
  expect(volume.writer.error).toBe("EIO");
});

test("owner, mode and times that were set around a write are committed with it; a later write replaces the time", async () => {
  const volume = new FakeVolume();
  const time = { seconds: 5, nanoseconds: 0 };
  volume.writer.write(0, new Uint8Array(10), false);
  volume.writer.defer({ uid: 7, mtime: time });
  volume.writer.defer({ mode: 0o640 });
  const shown = { size: 10, uid: 7, mode: 0o640, mtime: time };
  expect(volume.writer.show({ size: 3, usedBytes: 3 } as Attributes)).toMatchObject(shown);
  await volume.writer.commit();
  expect(volume.commands.find(({ kind }) => kind === "write")).toMatchObject({ mtime: time });
  expect(volume.changes).toEqual([
    { kind: "setattr", inode: 5, uid: 7, mode: 0o640, mtime: time, ctime: { seconds: 1, nanoseconds: 0 } },
  ]);
  volume.writer.defer({ mtime: time });
  volume.writer.write(0, new Uint8Array(1), false);
  await volume.writer.commit();
  expect(volume.commands.at(-1)!.mtime).toEqual({ seconds: 1, nanoseconds: 0 });
});

test("the change time that an application has seen is the one that the commit leaves (defect 4)", async () => {
  const seen = { seconds: 1, nanoseconds: 0 };
  const look = (volume: FakeVolume) => volume.writer.show({ size: 0, usedBytes: 0 } as Attributes);
  for (const [when, changes] of [
    ["before the commit", 1],
    ["during the upload", 1],
    ["once the write was sent, which is sent again", 2],
    ["never", 0],
  ] as const) {
    const volume = new FakeVolume();
    volume.writer.write(0, new Uint8Array(MIB), false);
    if (when === "before the commit") look(volume);
    const committed = volume.writer.commit();
    if (when === "during the upload") look(volume);
    if (changes === 2) volume.beforeNext(() => look(volume));
    await committed;
    expect([when, volume.attributes.ctime]).toEqual([when, when === "never" ? LEADER_TIME : seen]);
    expect(volume.changes.length).toBe(changes);
  }
  const refused = new FakeVolume();
  refused.writer.write(0, new Uint8Array(100), false);
  look(refused);
  refused.failures.push("EOVERFLOW");
  await refused.writer.commit();
  expect(refused.attributes.ctime).toEqual(seen);
});

test("the bytes that a file will hold are shown before the commit, each once (defect 4)", () => {
  const usedBytes = (attributes: Partial<Attributes>, writes: [number, number][]) => {
    const { writer } = new FakeVolume();
    for (const [offset, length] of writes) writer.write(offset, new Uint8Array(length), false);
    return writer.show(attributes as Attributes).usedBytes;
  };
  expect(usedBytes({ size: 0, usedBytes: 0 }, [[0, 5000]])).toBe(5000);
  expect(usedBytes({ size: 1000, usedBytes: 1000 }, [[500, 1000]])).toBe(1500);
  expect(
    usedBytes({ size: 1000, usedBytes: 1000 }, [
      [5000, 100],
      [5050, 100],
      [20_000, 10],
      [0, 10],
    ]),
  ).toBe(1160);
  // Inside a hole it is the most that the writes may add.
  expect(usedBytes({ size: 1000, usedBytes: 0 }, [[0, 10]])).toBe(10);
  expect(usedBytes({ size: 1000, usedBytes: 995 }, [[0, 10]])).toBe(1000);
});

test("set-user-ID is gone with the write that clears it, also where it was set just before (defect 9)", async () => {
  const volume = new FakeVolume();
  const mode = () => volume.writer.show({ size: 0, usedBytes: 0, mode: 0o4755 } as Attributes).mode;
  volume.writer.write(0, new Uint8Array(10), false);
  expect(mode()).toBe(0o4755);
  volume.writer.write(0, new Uint8Array(10), true);
  expect(mode()).toBe(0o755);
  volume.writer.defer({ mode: 0o6777 });
  expect(mode()).toBe(0o6777);
  volume.writer.write(0, new Uint8Array(10), true);
  expect(mode()).toBe(0o777);
  await volume.writer.commit();
  expect(volume.commands.at(-1)).toMatchObject({ killPrivileges: true });
  expect(volume.changes.at(-1)).toMatchObject({ kind: "setattr", mode: 0o777 });
});

test("commits of one file follow one another, and uncommitted bytes can be read until then", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(10).fill(1), false);
  const first = volume.writer.commit();
  volume.writer.write(5, new Uint8Array(10).fill(2), false);
  const bytes = new Uint8Array(15);
  volume.writer.overlay(bytes, 0);
  expect([...bytes]).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
  expect(volume.writer.end).toBe(15);
  await Promise.all([first, volume.writer.commit()]);
  expect(volume.commands.map(({ extents }) => extents[0]!.offset)).toEqual([0, 5]);
});

test("what is dirty counts with its buffers: 257 KiB hold 4 MiB, and adjacent small writes are joined (defect 11)", async () => {
  const volume = new FakeVolume();
  volume.writer.write(0, new Uint8Array(257 * 1024), false);
  expect(volume.memoryBytes).toBe(4 * MIB);
  for (const offset of [8, 7, 6]) volume.writer.write(offset * MIB, new Uint8Array(MIB), false);
  expect(volume.memoryBytes).toBe(16 * MIB);
  const committed = volume.writer.commit();
  expect(volume.memoryBytes).toBe(8 * MIB);
  await committed;
  expect(volume.memoryBytes).toBe(0);
});
