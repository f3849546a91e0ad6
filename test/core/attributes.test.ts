import { describe, expect, test } from "vitest";
import { type Inode, XATTRS_MAX } from "../../core/ids.ts";
import { bytes, ROOT_INODE, World } from "./world.ts";

describe("setattr", () => {
  test("'now' is the stamp's time; atime changes only when the command has it", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    const made = world.now;
    const mtime = { seconds: 77, nanoseconds: 123 };
    const after = world.must({ kind: "setattr", inode: file, mtime, atime: "now" }).attributes!;
    expect(after).toMatchObject({ mtime, atime: world.now, ctime: world.now });
    expect(world.must({ kind: "setattr", inode: file, mode: 0o600 }).attributes!.atime).not.toEqual(made);
  });

  test("a command without any field changes nothing", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    const before = world.attributes(file);
    expect(world.must({ kind: "setattr", inode: file }).attributes).toEqual(before);
    expect(world.effects!.touched).toEqual([]);
  });

  test("chown clears set-uid, and set-gid if the group may execute, but not on directories", () => {
    const world = new World();
    const modeAfterChown = (name: string, mode: number, kind: "file" | "directory" = "file") => {
      const inode = world.make(ROOT_INODE, name, kind, { mode });
      return world.must({ kind: "setattr", inode, uid: 5 }).attributes!.mode;
    };
    expect(modeAfterChown("a", 0o6755)).toBe(0o755);
    expect(modeAfterChown("b", 0o6745)).toBe(0o2745);
    expect(modeAfterChown("c", 0o6755, "directory")).toBe(0o6755);
  });

  test("`changed` is the sequence of the change", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    const after = world.must({ kind: "setattr", inode: file, mode: 0o600 }).attributes!;
    expect(after.changed).toBe(world.tree.version.sequence);
    expect(world.attributes(ROOT_INODE).changed).toBe(after.changed - 1);
  });

  test("an owner of 2^32 is EINVAL, a missing inode ESTALE", () => {
    const world = new World();
    const file = world.make(ROOT_INODE, "f");
    expect(world.errorOf({ kind: "setattr", inode: file, uid: 2 ** 32 })).toBe("EINVAL");
    expect(world.errorOf({ kind: "setattr", inode: 99 as Inode, mode: 0 })).toBe("ESTALE");
  });
});

describe("xattrs", () => {
  const value = new Uint8Array([1, 2]);

  test("create is EEXIST for an existing name; replace and remove are ENODATA for a missing one", () => {
    const world = new World();
    const inode = world.make(ROOT_INODE, "f");
    const set = (mode: "either" | "create" | "replace") =>
      world.errorOf({ kind: "setxattr", inode, name: bytes("user.a"), value, mode });
    expect([set("replace"), set("create"), set("create"), set("replace"), set("either")]).toEqual([
      "ENODATA",
      "ok",
      "EEXIST",
      "ok",
      "ok",
    ]);
    expect(world.attributes(inode)).toMatchObject({ xattrs: 1, ctime: world.now });
    expect(world.tree.xattr(inode, bytes("user.a"))).toEqual(value);
    const remove = { kind: "removexattr", inode, name: bytes("user.a") } as const;
    expect([world.errorOf(remove), world.errorOf(remove)]).toEqual(["ok", "ENODATA"]);
  });

  test("limits: names 255 bytes (ERANGE), values 64 KiB (E2BIG), XATTRS_MAX of them (ENOSPC)", () => {
    const world = new World();
    world.checked = false;
    const inode = world.make(ROOT_INODE, "f");
    const set = (name: string, length = 1) =>
      world.errorOf({ kind: "setxattr", inode, name: bytes(name), value: new Uint8Array(length), mode: "either" });
    expect(set("n".repeat(256))).toBe("ERANGE");
    expect(set("")).toBe("ERANGE");
    expect(set("user.big", 65537)).toBe("E2BIG");
    for (let at = 0; at < XATTRS_MAX; at++) expect(set(`user.${at}`, 65536 >> (at % 17))).toBe("ok");
    expect(set("user.more")).toBe("ENOSPC");
    expect(set("user.0")).toBe("ok");
  });

  test("an empty value is kept", () => {
    const world = new World();
    const inode = world.make(ROOT_INODE, "f");
    world.must({ kind: "setxattr", inode, name: bytes("user.e"), value: new Uint8Array(0), mode: "create" });
    expect(world.tree.xattr(inode, bytes("user.e"))).toEqual(new Uint8Array(0));
    expect(new World(world.view).tree.xattr(inode, bytes("user.e"))).toEqual(new Uint8Array(0));
  });
});
