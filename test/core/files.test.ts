import { describe, expect, test } from "vitest";
import type { Attributes, CommandOf, Extent } from "../../core/commands.ts";
import {
  CHUNK_BYTES,
  CHUNK_INLINE_BYTES_MAX,
  FILE_BYTES_MAX,
  INLINE_BYTES_MAX,
  type Inode,
  RANGE_CHUNKS_MAX,
  type SliceId,
} from "../../core/ids.ts";
import { bytes, MIB, OTHER_SESSION, ROOT_INODE, sliceOf, World } from "./world.ts";

const inline = (offset: number, length: number, fill = 1): Extent => ({
  kind: "inline",
  offset,
  data: new Uint8Array(length).fill(fill),
});
const stored = (offset: number, id: number, length: number): Extent => ({
  kind: "slice",
  offset,
  slice: sliceOf(id as SliceId, length),
});
const write = (inode: Inode, ...extents: Extent[]) => ({ kind: "write", inode, extents }) as const;
const resize = (inode: Inode, size: number) => ({ kind: "setattr", inode, size }) as const;
const fallocate = (inode: Inode, mode: CommandOf<"fallocate">["mode"], offset: number, length: number) =>
  ({ kind: "fallocate", inode, mode, offset, length }) as const;

function fileIn(world: World): Inode {
  return world.make(ROOT_INODE, "f");
}

/** `offset+length:content` of each segment of a chunk. */
function layout(world: World, inode: Inode, index = 0): string[] {
  return (world.tree.chunk(inode, index)?.segments ?? []).map((segment) =>
    segment.kind === "inline"
      ? `${segment.offset}+${segment.data.length}:inline`
      : `${segment.offset}+${segment.length}:${segment.slice % 1000}@${segment.sliceOffset}`,
  );
}

describe("write", () => {
  test("adjacent inline data is merged up to INLINE_BYTES_MAX", () => {
    const world = new World();
    const file = fileIn(world);
    for (let at = 0; at < 5; at++) world.must(write(file, inline(at * 1000, 1000)));
    expect(layout(world, file)).toEqual(["0+4000:inline", "4000+1000:inline"]);
    world.must(write(file, inline(8000, 10)));
    expect(layout(world, file)).toEqual(["0+4000:inline", "4000+1000:inline", "8000+10:inline"]);
    expect(world.attributes(file)).toMatchObject({ size: 8010, usedBytes: 5010 });
  });

  test("a slice that is cut in the middle has two references, and is dropped with the last one", () => {
    const world = new World();
    const file = fileIn(world);
    const id = world.grant(4);
    world.must(write(file, stored(0, id, 10 * MIB)));
    expect(world.effects!.slicesAdded).toMatchObject([{ id, inode: file, references: 1, crc32c: { length: 3 } }]);
    world.must(write(file, inline(5 * MIB, 100)));
    const n = id % 1000;
    expect(layout(world, file)).toEqual([
      `0+${5 * MIB}:${n}@0`,
      `${5 * MIB}+100:inline`,
      `${5 * MIB + 100}+${5 * MIB - 100}:${n}@${5 * MIB + 100}`,
    ]);
    expect(world.tree.slice(id)!.references).toBe(2);
    world.must(write(file, stored(0, id + 1, 6 * MIB)));
    expect(world.effects!.slicesDropped).toEqual([]);
    world.must(resize(file, 1 * MIB));
    expect(world.effects!.slicesDropped).toMatchObject([{ id, references: 0 }]);
    expect(world.tree.slice(id)).toBeUndefined();
  });

  test("slice ids: not granted to the session is ESTALE, in use EEXIST, used before and dropped ESTALE", () => {
    const world = new World();
    const file = fileIn(world);
    const mine = world.grant(3);
    const others = world.grant(3, OTHER_SESSION);
    expect(world.errorOf(write(file, stored(0, others, 10)))).toBe("ESTALE");
    expect(world.errorOf(write(file, stored(0, mine, 10)), { session: OTHER_SESSION })).toBe("ESTALE");
    expect(world.errorOf(write(file, stored(0, mine, 10)))).toBe("ok");
    expect(world.errorOf(write(file, stored(10, mine, 10)))).toBe("EEXIST");
    expect(world.errorOf(write(file, stored(0, mine + 1, 10), stored(10, mine + 1, 10)))).toBe("EEXIST");
    world.must(resize(file, 0));
    expect(world.errorOf(write(file, stored(0, mine, 10)))).toBe("ESTALE");
    expect(world.errorOf(write(file, stored(0, mine + 2, 10)))).toBe("ok");
  });

  test("all extents are written, or none", () => {
    const world = new World();
    const file = fileIn(world);
    const id = world.grant(1);
    const before = world.attributes(file);
    expect(world.errorOf(write(file, inline(0, 10), stored(20, id, 10), stored(40, id + 1, 10)))).toBe("ESTALE");
    expect(world.attributes(file)).toEqual(before);
    expect(layout(world, file)).toEqual([]);
    expect(world.errorOf(write(file, stored(20, id, 10)))).toBe("ok");
  });

  test("a slice that its own command overwrites is garbage at once", () => {
    const world = new World();
    const file = fileIn(world);
    const id = world.grant(1);
    world.must(write(file, stored(0, id, 10), inline(0, 10)));
    expect(world.effects).toMatchObject({ slicesAdded: [], slicesDropped: [{ id, references: 0 }] });
    expect(world.tree.slice(id)).toBeUndefined();
  });

  test("a chunk holds at most 64 KiB of inline data, then EOVERFLOW; a slice in its place makes room", () => {
    const world = new World();
    const file = fileIn(world);
    const pieces = CHUNK_INLINE_BYTES_MAX / INLINE_BYTES_MAX;
    for (let at = 0; at < pieces; at++) world.must(write(file, inline(at * INLINE_BYTES_MAX, INLINE_BYTES_MAX)));
    expect(world.errorOf(write(file, inline(pieces * INLINE_BYTES_MAX, 1)))).toBe("EOVERFLOW");
    expect(world.errorOf(write(file, inline(0, INLINE_BYTES_MAX, 9)))).toBe("ok");
    expect(world.errorOf(write(file, inline(CHUNK_BYTES, 1)))).toBe("ok");
    world.must(write(file, stored(0, world.grant(1), INLINE_BYTES_MAX)));
    expect(world.errorOf(write(file, inline(pieces * INLINE_BYTES_MAX, 1)))).toBe("ok");
  });

  test("malformed extents: empty, across the end of a chunk, too long for inline, too few checksums, beyond 16 TiB", () => {
    const world = new World();
    const file = fileIn(world);
    const id = world.grant(1);
    expect(world.errorOf(write(file, inline(0, 0)))).toBe("EINVAL");
    expect(world.errorOf(write(file, inline(CHUNK_BYTES - 1, 2)))).toBe("EINVAL");
    expect(world.errorOf(write(file, inline(0, INLINE_BYTES_MAX + 1)))).toBe("EINVAL");
    const slice = { ...sliceOf(id, 5 * MIB), crc32c: [1] };
    expect(world.errorOf(write(file, { kind: "slice", offset: 0, slice }))).toBe("EINVAL");
    expect(world.errorOf(write(file, inline(FILE_BYTES_MAX - 1, 2)))).toBe("EFBIG");
    expect(world.errorOf(write(file, inline(FILE_BYTES_MAX - 2, 2)))).toBe("ok");
  });

  test("to a directory is EISDIR, to a symlink EINVAL, to a missing inode ESTALE", () => {
    const world = new World();
    expect(world.errorOf(write(ROOT_INODE, inline(0, 1)))).toBe("EISDIR");
    expect(world.errorOf(write(world.make(ROOT_INODE, "l", "symlink"), inline(0, 1)))).toBe("EINVAL");
    expect(world.errorOf(write(99 as Inode, inline(0, 1)))).toBe("ESTALE");
  });

  test("mtime is when the application wrote; set-uid, set-gid and capabilities are cleared", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f", "file", { mode: 0o6755 });
    const capability = { inode: file, name: bytes("security.capability"), value: new Uint8Array(4) };
    world.must({ kind: "setxattr", ...capability, mode: "create" });
    const mtime = { seconds: -7, nanoseconds: 1 };
    const after = world.must({ ...write(file, inline(0, 1)), mtime, killPrivileges: true }).attributes;
    expect(after).toMatchObject({ mtime, ctime: world.now, mode: 0o755, xattrs: 0 });
  });
});

describe("truncate", () => {
  test("bytes that were cut off do not reappear when the file grows", () => {
    const world = new World();
    const file = fileIn(world);
    world.must(write(file, inline(0, 100)));
    world.must(resize(file, 40));
    world.must(resize(file, 200));
    expect(layout(world, file)).toEqual(["0+40:inline"]);
    expect(world.attributes(file)).toMatchObject({ size: 200, usedBytes: 40 });
  });

  test("across chunks: the later ones are removed, the one at the new end is cut", () => {
    const world = new World();
    const file = fileIn(world);
    const id = world.grant(3);
    for (let at = 0; at < 3; at++) world.must(write(file, stored(at * CHUNK_BYTES, id + at, CHUNK_BYTES)));
    world.must(resize(file, CHUNK_BYTES + 5));
    expect(layout(world, file, 1)).toEqual([`0+5:${(id + 1) % 1000}@0`]);
    expect(layout(world, file, 2)).toEqual([]);
    expect(world.effects!.slicesDropped.map((slice) => slice.id)).toEqual([id + 2]);
    expect(world.tree.volume!.usedBytes).toBe(CHUNK_BYTES + 5);
  });

  test("a file without data is truncated by one command, however large it is", () => {
    const world = new World();
    const file = fileIn(world);
    world.must(resize(file, FILE_BYTES_MAX));
    expect(world.errorOf(resize(file, FILE_BYTES_MAX + 1))).toBe("EFBIG");
    expect(world.must(resize(file, 3)).attributes!.size).toBe(3);
  });

  test("a command visits at most RANGE_CHUNKS_MAX chunks; repeated, it reaches the size", () => {
    const world = new World();
    world.checked = false;
    const file = fileIn(world);
    world.must(write(file, inline(0, 10)));
    world.must(write(file, inline(2 * CHUNK_BYTES, 10)));
    world.must(resize(file, 2.5 * RANGE_CHUNKS_MAX * CHUNK_BYTES));
    const sizes: number[] = [];
    let after: Attributes;
    do {
      after = world.must(resize(file, 5)).attributes!;
      sizes.push(after.size / CHUNK_BYTES);
    } while (after.size > 5 && sizes.length < 10);
    expect(sizes).toEqual([1.5 * RANGE_CHUNKS_MAX, 0.5 * RANGE_CHUNKS_MAX, 5 / CHUNK_BYTES]);
    expect(after.usedBytes).toBe(5);
  });

  test("mtime changes even when the size does not; directories are EISDIR, other kinds EINVAL", () => {
    const world = new World();
    const file = fileIn(world);
    world.must(write(file, inline(0, 10)));
    const after = world.must(resize(file, 10)).attributes!;
    expect(after.mtime).toEqual(world.now);
    expect(world.errorOf(resize(ROOT_INODE, 0))).toBe("EISDIR");
    expect(world.errorOf(resize(world.make(ROOT_INODE, "p", "fifo"), 0))).toBe("EINVAL");
  });
});

describe("fallocate", () => {
  test("allocate extends, keepSize does not, punch makes a hole, zero makes one and extends", () => {
    const world = new World();
    const file = fileIn(world);
    world.must(write(file, inline(0, 100)));
    world.must(fallocate(file, "keepSize", 0, 1000));
    expect(world.attributes(file).size).toBe(100);
    world.must(fallocate(file, "allocate", 0, 1000));
    expect(world.attributes(file)).toMatchObject({ size: 1000, usedBytes: 100 });
    world.must(fallocate(file, "punch", 10, 20));
    expect(layout(world, file)).toEqual(["0+10:inline", "30+70:inline"]);
    world.must(fallocate(file, "zero", 90, 2000));
    expect(layout(world, file)).toEqual(["0+10:inline", "30+60:inline"]);
    expect(world.attributes(file)).toMatchObject({ size: 2090, usedBytes: 70 });
    world.must(fallocate(file, "punch", 0, CHUNK_BYTES));
    expect(world.attributes(file)).toMatchObject({ size: 2090, usedBytes: 0 });
    expect(world.tree.chunk(file, 0)).toBeUndefined();
  });

  test("length 0 is EINVAL, beyond 16 TiB EFBIG, a hole over too many chunks EFBIG unless the file has no data", () => {
    const world = new World();
    const file = fileIn(world);
    expect(world.errorOf(fallocate(file, "allocate", 0, 0))).toBe("EINVAL");
    expect(world.errorOf(fallocate(file, "allocate", FILE_BYTES_MAX, 1))).toBe("EFBIG");
    world.must(resize(file, FILE_BYTES_MAX));
    expect(world.errorOf(fallocate(file, "punch", 0, FILE_BYTES_MAX))).toBe("ok");
    world.must(write(file, inline(0, 1)));
    expect(world.errorOf(fallocate(file, "punch", 0, FILE_BYTES_MAX))).toBe("EFBIG");
    expect(world.errorOf(fallocate(file, "punch", 0, RANGE_CHUNKS_MAX * CHUNK_BYTES))).toBe("ok");
  });
});
