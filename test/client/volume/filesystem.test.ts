import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ByteString, Inode } from "../../../core/ids.ts";
import {
  caller,
  type Disk,
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  ok,
  ROOT,
  World,
} from "../support/world.ts";

const MIB = 1024 * 1024;
let world: World;
let disk: Disk;
/** Another mount of the same region. */
let other: Disk;

beforeAll(async () => {
  world = await World.start();
  disk = await world.open();
  other = await world.open();
});
afterAll(() => world.stop());

function pattern(bytes: number, seed = 1): Buffer {
  const data = Buffer.allocUnsafe(bytes);
  for (let at = 0; at < bytes; at++) data[at] = (at * 31 + seed * 7 + (at >>> 8)) & 255;
  return data;
}

/** A kernel that never finishes to invalidate an entry. */
function slowKernel(disk: Disk) {
  const names: string[] = [];
  const { kernel } = disk.access.state;
  kernel.caches = {
    ...kernel.caches,
    invalidateEntry: (_, name) => {
      names.push(name);
      return new Promise(() => {});
    },
  };
  return { invalidated: () => names };
}

async function openAndClose(disk: Disk, inode: Inode): Promise<void> {
  const file = await disk.openInode(inode, O_RDONLY);
  await file.close();
}

describe("files", () => {
  test("small and large files are read as they were written", async () => {
    for (const [name, bytes] of [
      ["empty", 0],
      ["small", 100],
      ["inline-max", 4096],
      ["block", 4 * MIB],
      ["large", 9 * MIB + 17],
    ] as const) {
      await disk.write(name, pattern(bytes));
      expect((await disk.read(name)).equals(pattern(bytes))).toBe(true);
      expect((await other.read(name)).equals(pattern(bytes))).toBe(true);
    }
  });

  test("A hole reads as zeros, and SEEK_HOLE and SEEK_DATA find where it begins and ends", async () => {
    const file = await disk.open("sparse", O_CREAT | O_RDWR);
    await file.write("head", 0);
    await file.write("tail", 70 * MIB);
    await file.fsync();
    expect(await file.read(0, 8)).toEqual(Buffer.from("head\0\0\0\0"));
    expect(await file.read(70 * MIB - 2, 100)).toEqual(Buffer.from("\0\0tail"));
    const seek = (offset: number, whence: number) =>
      disk.handlers.lseek(caller(), file.inode, file.handle, offset, whence);
    expect(await seek(0, 4)).toBe(4);
    expect(await seek(4, 3)).toBe(70 * MIB);
    expect(await seek(70 * MIB, 4)).toBe(70 * MIB + 4);
    expect(await seek(70 * MIB + 4, 3)).toBe("ENXIO");
    await file.close();
  });

  test("uncommitted data is read by this mount, with the size of the file", async () => {
    const file = await disk.open("dirty", O_CREAT | O_RDWR);
    await file.write("0123456789");
    const reader = await disk.open("dirty", O_RDONLY);
    expect(String(await reader.read(2, 100))).toBe("23456789");
    expect((await disk.stat("dirty")).size).toBe(10);
    await reader.close();
    await file.close();
  });

  test("O_TRUNC empties, O_APPEND appends, O_EXCL refuses", async () => {
    await disk.write("flags", "some content");
    const truncated = await disk.open("flags", O_WRONLY | O_TRUNC);
    await truncated.write("ab");
    await truncated.close();
    const first = await disk.open("flags", O_WRONLY | O_APPEND);
    await first.write("cd", 2);
    await first.write("ef", 4);
    await first.close();
    expect(String(await disk.read("flags"))).toBe("abcdef");
    await expect(disk.create("flags", O_EXCL | O_WRONLY)).rejects.toThrow("EEXIST");
  });

  test("Appends through any number of descriptors of one mount follow one another, and none overwrites another", async () => {
    const one = await disk.open("log", O_CREAT | O_WRONLY | O_APPEND);
    const two = await disk.open("log", O_WRONLY | O_APPEND);
    await one.write("one ", 0);
    await two.write("two ", 0);
    await one.write("three", 4);
    await one.close();
    await two.close();
    expect(String(await disk.read("log"))).toBe("one two three");
  });

  test("a time that was set is kept when earlier writes are committed (cp -p)", async () => {
    const file = await disk.open("copied", O_CREAT | O_WRONLY);
    await file.write("data");
    const mtime = { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
    ok(await disk.handlers.setattr(caller(), file.inode, { mtime, atime: mtime }));
    await file.close();
    expect((await other.stat("copied")).mtime).toEqual(mtime);
  });

  test("an unlinked open file lives until its last close, here and where it is open elsewhere", async () => {
    await disk.write("gone", "still here");
    const mine = await disk.open("gone", O_RDWR);
    const theirs = await other.open("gone", O_RDONLY);
    await disk.unlink("gone");
    await mine.write("STILL");
    await mine.fsync();
    expect(String(await mine.read(0, 100))).toBe("STILL here");
    expect(String(await theirs.read(0, 100))).toMatch(/here$/);
    await mine.close();
    await theirs.close();
    await expect(disk.lookup("gone")).rejects.toThrow("ENOENT");
  });

  test("any sequence of writes, truncations and punched holes leaves what it leaves in a plain file", {
    timeout: 60_000,
  }, async () => {
    const at = fc.constantFrom(0, 1, 4095, 100_000, 4 * MIB - 3, 4 * MIB);
    const length = fc.constantFrom(1, 100, 4096, 5000, 300_000);
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constant("write" as const), at, length }) },
      fc.record({ do: fc.constant("truncate" as const), at, length }),
      fc.record({ do: fc.constant("punch" as const), at, length }),
      fc.record({ do: fc.constant("fsync" as const), at, length }),
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
        const name = `random-${run++}`;
        const file = await disk.open(name, O_CREAT | O_RDWR);
        let model = Buffer.alloc(0);
        for (const [index, { do: what, at, length }] of steps.entries()) {
          if (what === "write") {
            const data = pattern(length, index);
            await file.write(data, at);
            if (model.length < at + length) model = Buffer.concat([model, Buffer.alloc(at + length - model.length)]);
            data.copy(model, at);
          } else if (what === "truncate") {
            await file.truncate(at);
            model =
              at <= model.length ? model.subarray(0, at) : Buffer.concat([model, Buffer.alloc(at - model.length)]);
            model = Buffer.from(model);
          } else if (what === "punch") {
            ok(await disk.handlers.fallocate(caller(), file.inode, file.handle, 3, at, length));
            model.fill(0, at, Math.min(model.length, at + length));
          } else await file.fsync();
          if (index % 3 === 2) expect((await file.read(0, 8 * MIB)).equals(model)).toBe(true);
        }
        await file.close();
        expect((await disk.read(name)).equals(model)).toBe(true);
        expect((await other.read(name)).equals(model)).toBe(true);
      }),
      { numRuns: 12 },
    );
  });
});

describe("errors", () => {
  test("a failed write is reported once to each descriptor, at its next fsync or close", async () => {
    const file = await disk.open("failing", O_CREAT | O_WRONLY);
    const second = await disk.open("failing", O_WRONLY);
    const { session } = disk.access.state;
    const mutate = session.mutate;
    session.mutate = () => Promise.resolve("EDQUOT");
    await file.write("lost");
    await expect(file.fsync()).rejects.toThrow("EDQUOT");
    session.mutate = mutate;
    await file.fsync();
    await expect(second.close()).rejects.toThrow("EDQUOT");
    await file.write("kept");
    await file.close();
    expect(String(await disk.read("failing"))).toBe("kept");
  });

  test("a writer waits while the write budget is used up, and then continues", async () => {
    const small = await world.open("aws", { writeBufferBytes: String(16 * MIB) });
    const data = pattern(80 * MIB);
    const file = await small.open("flood", O_CREAT | O_WRONLY);
    for (let at = 0; at < data.length; at += MIB) await file.write(data.subarray(at, at + MIB), at);
    await file.close();
    expect((await other.read("flood")).equals(data.subarray(0, 64 * MIB))).toBe(true);
    expect((await other.stat("flood")).size).toBe(data.length);
  });
});

describe("names", () => {
  test("make, rename, exchange, link, unlink", async () => {
    await disk.mkdir("dir");
    await disk.write("dir/a", "A");
    await disk.write("dir/b", "B");
    await disk.rename("dir/a", "dir/b");
    expect(await disk.list("dir")).toEqual(["b"]);
    expect(String(await disk.read("dir/b"))).toBe("A");
    const dir = await disk.lookup("dir");
    ok(await disk.handlers.link(caller(), await disk.lookup("dir/b"), dir, "c" as ByteString));
    expect((await disk.stat("dir/c")).links).toBe(2);
    await disk.unlink("dir/b");
    expect((await other.stat("dir/c")).links).toBe(1);
    expect(await other.list("dir")).toEqual(["c"]);
    expect(await disk.handlers.rmdir(caller(), ROOT, "dir" as ByteString)).toBe("ENOTEMPTY");
  });

  test("thousands of names are listed page by page, each once", async () => {
    await disk.mkdir("many");
    await Promise.all(Array.from({ length: 1500 }, (_, index) => disk.mkdir(`many/${index}`)));
    const names = await other.list("many");
    expect(names.length).toBe(1500);
    expect(new Set(names).size).toBe(1500);
  });

  test("a name that is too long is refused without a request", async () => {
    const name = "n".repeat(256) as ByteString;
    expect(await disk.handlers.lookup(caller(), ROOT, name)).toBe("ENAMETOOLONG");
  });

  test("xattrs", async () => {
    await disk.write("tagged", "x");
    const inode = await disk.lookup("tagged");
    const name = "user.colour" as ByteString;
    expect(await disk.handlers.getxattr(caller(), inode, name)).toBe("ENODATA");
    expect(await disk.handlers.setxattr(caller(), inode, name, Buffer.from("red"), 1)).toBe(true);
    expect(await disk.handlers.setxattr(caller(), inode, name, Buffer.from("red"), 1)).toBe("EEXIST");
    expect(String(await other.handlers.getxattr(caller(), inode, name))).toBe("red");
    expect(await disk.handlers.listxattr(caller(), inode)).toEqual([name]);
    expect(await disk.handlers.getxattr(caller(), inode, "system.posix_acl_access" as ByteString)).toBe("EOPNOTSUPP");
  });
});

describe("two mounts", () => {
  test("an open in one mount reads what was closed in the other", async () => {
    for (let round = 0; round < 20; round++) {
      await disk.write("turns", `round ${round} from one`);
      expect(String(await other.read("turns")).slice(0, 20)).toBe(`round ${round} from one`.slice(0, 20));
    }
  });

  test("an open by a name that was moved is ESTALE until the kernel has dropped its entry", async () => {
    const kernel = slowKernel(other);
    await disk.write("moving", "old");
    const inode = await other.lookup("moving");
    await disk.rename("moving", "moved");
    await disk.write("moving", "new");
    await expect(openAndClose(other, inode)).rejects.toThrow("ESTALE");
    expect(kernel.invalidated()).toContain("moving");
    expect(String(await other.read("moving"))).toBe("new");
    expect(String(await other.read("moved"))).toBe("old");
  });

  test("an open below a directory that was renamed is ESTALE", async () => {
    slowKernel(other);
    await disk.mkdir("above");
    await disk.write("above/file", "content");
    const inode = await other.lookup("above/file");
    await disk.rename("above", "elsewhere");
    await expect(openAndClose(other, inode)).rejects.toThrow("ESTALE");
    expect(String(await other.read("elsewhere/file"))).toBe("content");
  });

  test("when pushes may have been missed, names expire and stay; one that a push then names is dropped", async () => {
    const sent: string[] = [];
    const { kernel } = other.access.state;
    kernel.caches = {
      ...kernel.caches,
      invalidateEntry: async (_, name) => void sent.push(`drop ${name}`),
      expireEntry: async (_, name) => void sent.push(`expire ${name}`),
    };
    await disk.mkdir("standing");
    await disk.write("standing/file", "content");
    const inode = await other.lookup("standing/file");
    kernel.invalidateAll();
    kernel.invalidateAll();
    await expect.poll(() => sent).toEqual(expect.arrayContaining(["expire standing", "expire file"]));
    expect(sent.filter((one) => one.startsWith("drop"))).toEqual([]);
    // The kernel looks up an expired name before it uses it, so an open need not check it.
    expect(other.access.state.nodes.cachedNames(inode)).toEqual([]);
    sent.length = 0;
    kernel.invalidateAll();
    await disk.rename("standing/file", "standing/moved");
    await expect.poll(() => sent).toContain("drop file");
    expect(sent.filter((one) => one.startsWith("expire"))).toEqual([]);
    await openAndClose(other, inode);
    await other.lookup("standing/moved");
    expect(other.access.state.nodes.cachedNames(inode)).toMatchObject([{ name: "standing" }, { name: "moved" }]);
  });

  test("locks are held against each other", async () => {
    const mine = await disk.open("locked", O_CREAT | O_RDWR);
    const theirs = await other.open("locked", O_RDWR);
    const range = { mode: "write" as const, start: 0, end: 99, pid: 7 };
    const once = { wait: false, flock: false };
    expect(await disk.handlers.setlk(caller(), mine.inode, mine.handle, "a", range, once)).toBe(true);
    expect(await other.handlers.setlk(caller(), mine.inode, theirs.handle, "b", range, once)).toBe("EAGAIN");
    expect(await other.handlers.getlk(caller(), mine.inode, theirs.handle, "b", range)).toMatchObject({
      mode: "write",
    });
    const waiting = other.handlers.setlk(caller(), mine.inode, theirs.handle, "b", range, { wait: true, flock: false });
    ok(await disk.handlers.setlk(caller(), mine.inode, mine.handle, "a", { ...range, mode: "unlock" }, once));
    expect(await waiting).toBe(true);
    await mine.close();
    await theirs.close();
  });

  test("a lock that is waited for holds up no other change, however many there are (defect 1)", async () => {
    const mine = await disk.open("awaited", O_CREAT | O_RDWR);
    const theirs = await other.open("awaited", O_RDWR);
    const range = { mode: "write" as const, start: 0, end: 99, pid: 7 };
    ok(await disk.handlers.setlk(caller(), mine.inode, mine.handle, "a", range, { wait: false, flock: false }));
    const waiting = other.handlers.setlk(caller(), theirs.inode, theirs.handle, "b", range, {
      wait: true,
      flock: false,
    });
    const absent = { kind: "rmdir", parent: ROOT, name: "absent" as ByteString } as const;
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(Array.from({ length: 1500 }, () => other.access.state.session.mutate(absent)));
      expect(new Set(answers)).toEqual(new Set(["ENOENT"]));
    }
    await mine.close();
    await disk.handlers.flush(caller(), mine.inode, mine.handle, "a");
    expect(await waiting).toBe(true);
    await theirs.close();
  });

  test("a lock of an open file description is released at its last close (defect 5)", async () => {
    const mine = await disk.open("described", O_CREAT | O_RDWR);
    const theirs = await other.open("described", O_RDWR);
    const range = { mode: "write" as const, start: 0, end: 99, pid: 7 };
    const once = { wait: false, flock: false };
    ok(await disk.handlers.setlk(caller(), mine.inode, mine.handle, "description", range, once));
    // The kernel's FLUSH names the process, and its RELEASE no owner: neither names the owner of this lock.
    await mine.close();
    await expect
      .poll(() => other.handlers.setlk(caller(), theirs.inode, theirs.handle, "b", range, once), { timeout: 5000 })
      .toBe(true);
    await theirs.close();
  });

  test("a process keeps a lock that it took again after it had closed another descriptor (defect 5)", async () => {
    const first = await disk.open("relocked", O_CREAT | O_RDWR);
    const second = await disk.open("relocked", O_RDWR);
    const theirs = await other.open("relocked", O_RDWR);
    const range = { mode: "write" as const, start: 0, end: 99, pid: 7 };
    const once = { wait: false, flock: false };
    ok(await disk.handlers.setlk(caller(), first.inode, first.handle, "process", range, once));
    ok(await disk.handlers.flush(caller(), first.inode, first.handle, "process"));
    ok(await disk.handlers.setlk(caller(), second.inode, second.handle, "process", range, once));
    await disk.handlers.release(caller(), first.inode, first.handle, undefined);
    await disk.write("relocked-barrier", "x");
    expect(await other.handlers.setlk(caller(), theirs.inode, theirs.handle, "b", range, once)).toBe("EAGAIN");
    await second.close();
    await theirs.close();
  });

  test("a file capability that is set between a write and the close is not removed by the write", async () => {
    const name = "security.capability" as ByteString;
    const file = await disk.open("capable", O_CREAT | O_WRONLY);
    await file.write("#!/bin/sh");
    ok(await disk.handlers.setxattr(caller(), file.inode, name, Buffer.from("all"), 0));
    await file.close();
    expect(String(ok(await other.handlers.getxattr(caller(), file.inode, name)))).toBe("all");
    await disk.write("capable", "another");
    expect(await other.handlers.getxattr(caller(), file.inode, name)).toBe("ENODATA");
  });

  test("cached pages are kept from one open to the next only if the file did not change", async () => {
    await disk.write("pages", "one");
    const inode = await other.lookup("pages");
    const open = async () => {
      const reply = ok(await other.handlers.open(caller(), inode, O_RDONLY, false));
      await other.handlers.release(caller(), inode, reply.handle, undefined);
      return reply.keepCache;
    };
    await open();
    expect(await open()).toBe(true);
    await disk.write("pages", "two");
    expect(await open()).toBe(false);
    expect(await open()).toBe(true);
  });
});
