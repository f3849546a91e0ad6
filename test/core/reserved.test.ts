import { expect, test } from "vitest";
import type { Command } from "../../core/commands.ts";
import type { Inode } from "../../core/ids.ts";
import { bytes, makeCommand, ROOT_INODE, World } from "./world.ts";

const [SYSTEM, TRASH, LOST_AND_FOUND] = [2, 3, 4] as Inode[] as [Inode, Inode, Inode];
const NAME = bytes(".mirrorfs");

test("format gives .mirrorfs, its trash and its lost+found; the root counts none of them", () => {
  const world = new World();
  expect(world.lookup(ROOT_INODE, ".mirrorfs")).toBe(SYSTEM);
  expect([world.lookup(SYSTEM, "trash"), world.lookup(SYSTEM, "lost+found")]).toEqual([TRASH, LOST_AND_FOUND]);
  expect(world.attributes(ROOT_INODE)).toMatchObject({ links: 2, entries: 0, parent: ROOT_INODE });
  expect(world.attributes(SYSTEM)).toMatchObject({ links: 4, entries: 2, parent: ROOT_INODE });
  for (const inode of [SYSTEM, TRASH, LOST_AND_FOUND])
    expect(world.attributes(inode)).toMatchObject({ kind: "directory", mode: 0o700, uid: 0, gid: 0 });
  expect(world.tree.volume).toMatchObject({ inodes: 4 });
});

test("no command makes, renames or removes .mirrorfs or a name beside what is in it, or changes these directories", () => {
  const world = new World();
  const file = world.make(ROOT_INODE, "file");
  const directory = world.make(ROOT_INODE, "directory", "directory");
  const rename = (parent: Inode, name: string, newParent: Inode, newName: string, mode = "replace"): Command =>
    ({ kind: "rename", parent, name: bytes(name), newParent, newName: bytes(newName), mode }) as Command;
  const refused: Command[] = [
    makeCommand(ROOT_INODE, ".mirrorfs", "directory"),
    makeCommand(SYSTEM, "new"),
    makeCommand(TRASH, "new"),
    { kind: "link", inode: file, parent: SYSTEM, name: bytes("link") },
    { kind: "link", inode: file, parent: ROOT_INODE, name: NAME },
    { kind: "rmdir", parent: ROOT_INODE, name: NAME },
    { kind: "rmdir", parent: SYSTEM, name: bytes("trash") },
    { kind: "unlink", parent: SYSTEM, name: bytes("trash") },
    rename(ROOT_INODE, ".mirrorfs", ROOT_INODE, "visible"),
    rename(SYSTEM, "lost+found", ROOT_INODE, "visible"),
    rename(ROOT_INODE, "directory", ROOT_INODE, ".mirrorfs"),
    rename(ROOT_INODE, "directory", SYSTEM, "trash"),
    rename(ROOT_INODE, "file", TRASH, "file"),
    rename(ROOT_INODE, "directory", ROOT_INODE, ".mirrorfs", "exchange"),
    ...[SYSTEM, TRASH, LOST_AND_FOUND].flatMap((inode): Command[] => [
      { kind: "setattr", inode, mode: 0o777 },
      { kind: "setxattr", inode, name: bytes("user.a"), value: new Uint8Array(1), mode: "either" },
    ]),
  ];
  const before = new Map([...world.view.pairs].filter(([key]) => "ADX".includes(key[0]!)));
  for (const command of refused) expect([command, world.errorOf(command)]).toEqual([command, "EPERM"]);
  expect(new Map([...world.view.pairs].filter(([key]) => "ADX".includes(key[0]!)))).toEqual(before);
  // Elsewhere the name is like any other.
  const nested = world.make(directory, ".mirrorfs", "directory");
  world.must({ kind: "rmdir", parent: directory, name: NAME });
  expect(world.attributes(nested).links).toBe(0);
});

test("lost+found is filled with ordinary commands; the root can still be changed", () => {
  const world = new World();
  const directory = world.make(LOST_AND_FOUND, "exported", "directory");
  const file = world.make(directory, "file");
  world.must({
    kind: "rename",
    parent: directory,
    name: bytes("file"),
    newParent: ROOT_INODE,
    newName: bytes("found"),
    mode: "replace",
  });
  world.must({ kind: "setattr", inode: ROOT_INODE, mode: 0o1777 });
  expect(world.lookup(ROOT_INODE, "found")).toBe(file);
});

test("a new inode has its directory's policy", () => {
  const world = new World();
  const directory = world.make(ROOT_INODE, "d", "directory");
  expect(world.attributes(directory).policy).toBe(0);
  world.tree.putAttributes({ ...world.attributes(directory), policy: 200 });
  const below = world.make(directory, "below", "directory");
  expect([world.attributes(below).policy, world.attributes(world.make(below, "f")).policy]).toEqual([200, 200]);
  expect(world.attributes(world.make(ROOT_INODE, "other")).policy).toBe(0);
});
