import { afterAll, beforeAll, expect, test } from "vitest";
import type { Inode } from "../../../core/ids.ts";
import {
  caller,
  type Disk,
  type File,
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  ok,
  World,
} from "../support/world.ts";

/** One file in two mounts of a region: where the bytes of one go that the kernel has cached for the other. */
let world: World;
let disk: Disk;
let other: Disk;

beforeAll(async () => {
  world = await World.start();
  disk = await world.open();
  other = await world.open();
});
afterAll(() => world.stop());

test("an append goes to the end that another mount has left, whatever the kernel has cached (defect 6)", async () => {
  await disk.write("shortened", "0123456789");
  const log = await disk.open("shortened", O_WRONLY | O_APPEND);
  const shorten = await other.open("shortened", O_RDWR);
  await shorten.truncate(4);
  await shorten.close();
  await expect.poll(() => disk.access.state.nodes.get(log.inode)?.stale).toBe(true);
  // The kernel still has the size 10.
  await log.write("ab", 10);
  await log.write("cd", 12);
  await log.close();
  expect(String(await other.read("shortened"))).toBe("0123abcd");
});

test("an append under a lock goes to the end that the lock's last holder has left (defect 6)", async () => {
  const range = { mode: "write" as const, start: 0, end: Number.MAX_SAFE_INTEGER, pid: 7 };
  const set = async (file: File, mode: "write" | "unlock") => {
    const how = { wait: true, flock: false };
    ok(await file.disk.handlers.setlk(caller(), file.inode, file.handle, "owner", { ...range, mode }, how));
  };
  const mine = await disk.open("turns-log", O_CREAT | O_WRONLY | O_APPEND);
  await mine.write("0123456789");
  await mine.fsync();
  const theirs = await other.open("turns-log", O_RDWR);
  await set(theirs, "write");
  await theirs.truncate(4);
  await set(theirs, "unlock");
  await set(mine, "write");
  await mine.write("ab", 10);
  await set(mine, "unlock");
  expect(String(await other.read("turns-log"))).toBe("0123ab");
  await mine.close();
  await theirs.close();
});

test("pages of a shared mapping go to their offset, also through a descriptor that appends (defect 6)", async () => {
  await disk.write("mapped", "0123456789");
  const file = await disk.open("mapped", O_RDWR | O_APPEND);
  await file.write("ab", 2, { writeback: true });
  await file.write("cd", 10);
  await file.close();
  expect(String(await other.read("mapped"))).toBe("01ab456789cd");
});

test("O_TRUNC empties only the file that the open checked, also for a caller without privilege (defect 3)", async () => {
  // A kernel that never finishes to drop a name.
  const never = () => new Promise<void>(() => {});
  const { kernel } = other.access.state;
  kernel.caches = { ...kernel.caches, invalidateEntry: never, expireEntry: never };
  await disk.write("current", "old");
  const inode = await other.lookup("current");
  await disk.rename("current", "previous");
  await disk.write("current", "new");
  for (const killPrivileges of [true, false]) {
    await expect(other.openInode(inode, O_WRONLY | O_TRUNC, undefined, killPrivileges)).rejects.toThrow("ESTALE");
  }
  expect(String(await disk.read("previous"))).toBe("old");
  const chosen = await disk.lookup("previous");
  ok(await disk.handlers.setattr(caller(), chosen, { mode: 0o6777 }));
  const file = await disk.openInode(chosen, O_WRONLY | O_TRUNC, undefined, true);
  expect(await disk.stat("previous")).toMatchObject({ size: 0, mode: 0o777 });
  await file.close();
});

test("O_CREAT of a name that another mount has made is ESTALE, so that the kernel checks its permission (defect 7)", async () => {
  await disk.write("private", "theirs");
  await expect(other.create("private", O_RDWR)).rejects.toThrow("ESTALE");
  await expect(other.create("private", O_RDWR | O_EXCL)).rejects.toThrow("EEXIST");
  expect(other.access.state.nodes.openFiles()).toEqual([]);
  const file = await other.open("private", O_RDWR | O_CREAT);
  expect(String(await file.read(0, 10))).toBe("theirs");
  await file.close();
});

test("size, blocks, mode and change time of a file that is written are the same before its close and after (defects 4 and 9)", async () => {
  for (const [name, bytes, mode] of [
    ["inline", 1000, 0o640],
    ["block", 100_000, 0o6777],
  ] as const) {
    const file = await disk.open(name, O_CREAT | O_RDWR);
    ok(await disk.handlers.setattr(caller(), file.inode, { mode }));
    await file.fsync();
    await file.write(Buffer.alloc(bytes, name), 0, { killPrivileges: true });
    const before = ok(await disk.handlers.getattr(caller(), file.inode, file.handle)).attributes;
    expect(before).toMatchObject({ size: bytes, usedBytes: bytes, mode: mode & 0o777 });
    await file.close();
    const { changed, ...after } = await disk.stat(name);
    expect({ ...after, changed: before.changed }).toEqual(before);
    expect(await other.stat(name)).toEqual({ ...after, changed });
  }
});

test("attributes that the kernel has from before a commit are dropped where they were a guess (defect 4)", async () => {
  const dropped: [Inode, boolean][] = [];
  const { kernel } = disk.access.state;
  kernel.caches = { ...kernel.caches, invalidateInode: async (...what) => void dropped.push(what) };
  const file = await disk.open("holes", O_CREAT | O_RDWR);
  await file.truncate(10_000);
  await file.write("in", 100);
  await file.fsync();
  const usedBytes = async () => ok(await disk.handlers.getattr(caller(), file.inode, file.handle)).attributes.usedBytes;
  for (const { at, shown, committed, drops } of [
    { at: 100, shown: 4, committed: 2, drops: 1 },
    { at: 10_000, shown: 4, committed: 4, drops: 0 },
  ]) {
    dropped.length = 0;
    await file.write("IN", at);
    expect(await usedBytes()).toBe(shown);
    await file.fsync();
    expect(await usedBytes()).toBe(committed);
    expect(dropped).toEqual(Array.from({ length: drops }, () => [file.inode, false]));
  }
  await file.close();
});

test("an outcome or a listing from before another mount's change does not make its attributes current again (defect 8)", async () => {
  const { kernel, nodes, session } = disk.access.state;
  await disk.mkdir("raced");
  for (const how of ["outcome", "listing"]) {
    await disk.write("raced/file", "x");
    const file = await disk.open("raced/file", O_RDWR);
    const directory = await disk.lookup("raced");
    const { handle } = ok(await disk.handlers.opendir(caller(), directory));
    const listed = ok(await disk.handlers.readdir(caller(), directory, handle, 0, true));
    const done = ok(await session.mutate({ kind: "setattr", inode: file.inode, mode: 0o600 }));
    await other.write("raced/file", `changed through ${how}`);
    await expect.poll(() => nodes.get(file.inode)?.stale).toBe(true);
    // Both were answered before the push, and are handled only now.
    if (how === "outcome") kernel.noteOwnChange(done);
    else expect(listed.find(({ name }) => name === "file")?.entry).toMatchObject({ validMs: 0 });
    expect(nodes.get(file.inode)?.stale).toBe(true);
    const seen = ok(await disk.handlers.getattr(caller(), file.inode, file.handle));
    expect(seen.attributes.size).toBe(`changed through ${how}`.length);
    expect(seen.validMs).toBeGreaterThan(0);
    expect(String(await file.read(0, 100))).toBe(`changed through ${how}`);
    await disk.handlers.releasedir(caller(), directory, handle);
    await file.close();
  }
});
