import { describe, expect, test } from "vitest";
import { DIRECTORY_LINKS_MAX, FILE_LINKS_MAX, type Inode } from "../../core/ids.ts";
import { bytes, makeCommand, ROOT_INODE, World } from "./world.ts";

const rename = (parent: Inode, name: string, newParent: Inode, newName: string, mode = "replace" as const) =>
  ({ kind: "rename", parent, name: bytes(name), newParent, newName: bytes(newName), mode }) as const;
const unlink = (parent: Inode, name: string) => ({ kind: "unlink", parent, name: bytes(name) }) as const;
const rmdir = (parent: Inode, name: string) => ({ kind: "rmdir", parent, name: bytes(name) }) as const;
const link = (inode: Inode, parent: Inode, name: string) =>
  ({ kind: "link", inode, parent, name: bytes(name) }) as const;

describe("make", () => {
  test("an existing name is EEXIST, a missing parent ESTALE, a file as parent ENOTDIR", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    expect(world.errorOf(makeCommand(ROOT_INODE, "f"))).toBe("EEXIST");
    expect(world.errorOf(makeCommand(4711 as Inode, "g"))).toBe("ESTALE");
    expect(world.errorOf(makeCommand(file, "g"))).toBe("ENOTDIR");
  });

  test("A name is any 1 to 255 bytes but '/' and NUL", () => {
    const world = new World();
    expect(world.errorOf(makeCommand(ROOT_INODE, "\xff".repeat(255)))).toBe("ok");
    expect(world.errorOf(makeCommand(ROOT_INODE, "n".repeat(256)))).toBe("ENAMETOOLONG");
    for (const name of ["", ".", "..", "a/b", "a\0"])
      expect(world.errorOf(makeCommand(ROOT_INODE, name))).toBe("EINVAL");
  });

  test("in a directory with set-gid, new inodes inherit the group, and new directories the bit as well", () => {
    const world = new World();
    const shared = world.make(ROOT_INODE, "d", "directory", { mode: 0o2775, gid: 500 });
    const file = world.attributes(world.make(shared, "f", "file", { mode: 0o644, gid: 1 }));
    const below = world.attributes(world.make(shared, "s", "directory", { mode: 0o755, gid: 1 }));
    expect([file.gid, file.mode]).toEqual([500, 0o644]);
    expect([below.gid, below.mode]).toEqual([500, 0o2755]);
  });

  test("a symlink's target: empty is ENOENT, 4095 bytes are valid and its size, 4096 are ENAMETOOLONG", () => {
    const world = new World();
    const target = (length: number) =>
      makeCommand(ROOT_INODE, `t${length}`, "symlink", { target: bytes("t".repeat(length)) });
    expect(world.errorOf(target(0))).toBe("ENOENT");
    expect(world.must(target(4095)).attributes).toMatchObject({ size: 4095, mode: 0o777 });
    expect(world.errorOf(target(4096))).toBe("ENAMETOOLONG");
  });

  test("only device nodes have a device number", () => {
    const world = new World();
    expect(world.attributes(world.make(ROOT_INODE, "c", "character", { device: 259 })).device).toBe(259);
    expect(world.attributes(world.make(ROOT_INODE, "p", "fifo", { device: 259 })).device).toBe(0);
  });
});

describe("link counts", () => {
  test("a directory has 2 links and one for each subdirectory; a removed one has 0", () => {
    const world = new World();
    const a = world.make(ROOT_INODE, "a", "directory");
    world.make(a, "b", "directory");
    world.make(a, "f");
    expect(world.attributes(a).links).toBe(3);
    world.must(rmdir(a, "b"));
    world.must(unlink(a, "f"));
    expect(world.attributes(a).links).toBe(2);
    world.must(rmdir(ROOT_INODE, "a"));
    expect(world.attributes(a).links).toBe(0);
    expect(world.errorOf(makeCommand(a, "f"))).toBe("ENOENT");
  });

  test("a file may have FILE_LINKS_MAX links, then EMLINK; a directory DIRECTORY_LINKS_MAX", () => {
    const world = new World();
    world.checked = false;
    const file = world.make(ROOT_INODE, "f");
    world.tree.putAttributes({ ...world.attributes(file), links: FILE_LINKS_MAX - 1 });
    expect(world.errorOf(link(file, ROOT_INODE, "g"))).toBe("ok");
    expect(world.errorOf(link(file, ROOT_INODE, "h"))).toBe("EMLINK");

    const full = world.make(ROOT_INODE, "d", "directory");
    world.tree.putAttributes({ ...world.attributes(full), links: DIRECTORY_LINKS_MAX });
    world.make(ROOT_INODE, "e", "directory");
    expect(world.errorOf(makeCommand(full, "s", "directory"))).toBe("EMLINK");
    expect(world.errorOf(rename(ROOT_INODE, "e", full, "e"))).toBe("EMLINK");
    expect(world.errorOf(makeCommand(full, "f"))).toBe("ok");
  });

  test("link of a directory is EPERM, of an inode without links ENOENT", () => {
    const world = new World();
    const directory = world.make(ROOT_INODE, "d", "directory");
    const file = world.make(ROOT_INODE, "f");
    world.must(unlink(ROOT_INODE, "f"));
    expect(world.errorOf(link(directory, ROOT_INODE, "e"))).toBe("EPERM");
    expect(world.errorOf(link(file, ROOT_INODE, "g"))).toBe("ENOENT");
  });
});

describe("unlink and rmdir", () => {
  test("unlink of a directory is EISDIR, rmdir of a file ENOTDIR, of a directory with entries ENOTEMPTY", () => {
    const world = new World();
    const directory = world.make(ROOT_INODE, "d", "directory");
    world.make(directory, "f");
    expect(world.errorOf(unlink(ROOT_INODE, "d"))).toBe("EISDIR");
    expect(world.errorOf(rmdir(directory, "f"))).toBe("ENOTDIR");
    expect(world.errorOf(rmdir(ROOT_INODE, "d"))).toBe("ENOTEMPTY");
    expect(world.errorOf(unlink(directory, "g"))).toBe("ENOENT");
  });

  test("an unlinked file remains as an orphan until it is reaped", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    const outcome = world.must(unlink(ROOT_INODE, "f"));
    expect(outcome.removed).toBe(file);
    expect(world.effects!.orphaned).toEqual([file]);
    expect(world.tree.orphan(file)).toBe(world.tree.version.sequence);
    world.must({ kind: "setxattr", inode: file, name: bytes("user.a"), value: new Uint8Array(1), mode: "either" });
    const reap = (xattrs: string[]) => ({ kind: "reap", inode: file, chunks: [], xattrs: xattrs.map(bytes) }) as const;
    world.must(reap([]));
    expect(world.attributes(file)).toBeDefined();
    world.must(reap(["user.a"]));
    expect(world.attributes(file)).toBeUndefined();
    expect(world.errorOf(reap([]))).toBe("ENOENT");
  });

  test("an inode with links is never reaped", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    expect(world.errorOf({ kind: "reap", inode: file, chunks: [], xattrs: [] })).toBe("ENOENT");
  });

  test("the link in `parent` may be removed before the others; the next link takes its place", () => {
    const world = new World();
    const d = world.make(ROOT_INODE, "d", "directory");
    const file = world.make(ROOT_INODE, "a");
    world.must(link(file, d, "b"));
    expect(world.attributes(file).parent).toBe(ROOT_INODE);
    world.must(unlink(ROOT_INODE, "a"));
    expect(world.attributes(file).parent).toBe(0);
    world.must(link(file, d, "c"));
    expect(world.attributes(file)).toMatchObject({ parent: d, links: 2 });
    world.must(rename(d, "b", ROOT_INODE, "b"));
    world.must(unlink(ROOT_INODE, "b"));
    world.must(unlink(d, "c"));
    expect(world.tree.orphan(file)).toBeDefined();
  });
});

describe("rename", () => {
  function world() {
    const world = new World();
    const a = world.make(ROOT_INODE, "a", "directory");
    const b = world.make(a, "b", "directory");
    return { world, a, b, f: world.make(ROOT_INODE, "f"), g: world.make(b, "g") };
  }

  test("a directory cannot be moved into itself or below (EINVAL), nor onto an ancestor (ENOTEMPTY)", () => {
    const { world: w, a, b } = world();
    expect(w.errorOf(rename(ROOT_INODE, "a", a, "x"))).toBe("EINVAL");
    expect(w.errorOf(rename(ROOT_INODE, "a", b, "x"))).toBe("EINVAL");
    expect(w.errorOf(rename(b, "g", ROOT_INODE, "a"))).toBe("EISDIR");
    expect(w.errorOf(rename(a, "b", ROOT_INODE, "a"))).toBe("ENOTEMPTY");
    expect(w.errorOf(rename(b, "g", ROOT_INODE, "a", "exchange" as never))).toBe("EINVAL");
  });

  test("a file replaces a file, a directory replaces an empty directory", () => {
    const { world: w, a, b, f, g } = world();
    const replaced = w.must(rename(ROOT_INODE, "f", b, "g"));
    expect(replaced).toMatchObject({ removed: g, attributes: { inode: f, parent: b } });
    expect(w.tree.orphan(g)).toBeDefined();
    const empty = w.make(ROOT_INODE, "e", "directory");
    expect(w.errorOf(rename(a, "b", ROOT_INODE, "e"))).toBe("ok");
    expect(w.attributes(empty).links).toBe(0);
    expect([w.attributes(a).links, w.attributes(ROOT_INODE).links, w.attributes(b).parent]).toEqual([2, 4, ROOT_INODE]);
    expect(w.errorOf(rename(ROOT_INODE, "a", b, "g"))).toBe("ENOTDIR");
  });

  test("onto itself or another link of the same file: nothing changes", () => {
    const { world: w, f } = world();
    w.must(link(f, ROOT_INODE, "f2"));
    const before = w.attributes(f);
    for (const to of ["f", "f2"]) expect(w.errorOf(rename(ROOT_INODE, "f", ROOT_INODE, to))).toBe("ok");
    expect(w.attributes(f)).toEqual(before);
    expect([w.lookup(ROOT_INODE, "f"), w.lookup(ROOT_INODE, "f2")]).toEqual([f, f]);
    expect(w.effects!.touched).toEqual([]);
  });

  test("noreplace is EEXIST even for the same file; exchange needs both names and swaps inodes of any kind", () => {
    const { world: w, a, b, f } = world();
    expect(w.errorOf(rename(ROOT_INODE, "f", ROOT_INODE, "f", "noreplace" as never))).toBe("EEXIST");
    expect(w.errorOf(rename(ROOT_INODE, "f", ROOT_INODE, "none", "exchange" as never))).toBe("ENOENT");
    w.must(rename(ROOT_INODE, "f", a, "b", "exchange" as never));
    expect([w.lookup(ROOT_INODE, "f"), w.lookup(a, "b")]).toEqual([b, f]);
    expect([w.attributes(a).links, w.attributes(b).parent, w.attributes(f).parent]).toEqual([2, ROOT_INODE, a]);
  });

  test("times: mtime and ctime of both directories, ctime of the moved and the replaced inode", () => {
    const { world: w, b, f, g } = world();
    w.must(rename(ROOT_INODE, "f", b, "g"));
    const { now } = w;
    for (const directory of [ROOT_INODE, b]) expect(w.attributes(directory)).toMatchObject({ mtime: now, ctime: now });
    expect(w.attributes(f).ctime).toEqual(now);
    expect(w.attributes(f).mtime).not.toEqual(now);
    expect(w.attributes(g).ctime).toEqual(now);
  });

  test("caches invalidate both names, both directories and both inodes", () => {
    const { world: w, b, f, g } = world();
    w.must(rename(ROOT_INODE, "f", b, "g"));
    expect(w.effects!.touched).toEqual(
      expect.arrayContaining([
        { parent: ROOT_INODE, name: "f" },
        { parent: b, name: "g" },
        { inode: ROOT_INODE, content: true },
        { inode: b, content: true },
        { inode: f, content: false },
        { inode: g, content: false },
      ]),
    );
  });
});
