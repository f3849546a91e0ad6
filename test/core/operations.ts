import fc from "fast-check";
import type { InodeKind } from "../../core/commands.ts";
import { CHUNK_BYTES } from "../../core/ids.ts";
import { OTHER_SESSION, SESSION } from "./world.ts";

// Random operations for the model test. They name inodes and entries by an index into a list, so that most of them hit
// something, and shrinking keeps their meaning. Usually that is the list of those that fit; sometimes of all there ever were.
const inode = fc.nat(400);
const fewInodes = fc.nat(23);
const name = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom("a", "b", "c", "d") },
  { weight: 1, arbitrary: fc.constantFrom("", "..", "x/y", "n".repeat(256)) },
);
const xattrName = fc.constantFrom("user.a", "user.b", "security.capability");
const mode = fc.constantFrom(0o644, 0o755, 0o4755, 0o2755, 0o6745, 0o2775, 0o7777);
const owner = fc.constantFrom(0, 5, 1000);
const seconds = fc.integer({ min: -5, max: 5 });
const offset = fc.oneof(
  { weight: 6, arbitrary: fc.nat(60) },
  { weight: 3, arbitrary: fc.integer({ min: CHUNK_BYTES - 20, max: CHUNK_BYTES + 20 }) },
  { weight: 1, arbitrary: fc.constantFrom(3 * CHUNK_BYTES, 2 ** 39 - 5, 2 ** 44 - 5, 2 ** 44) },
);
const size = fc.oneof(
  { weight: 8, arbitrary: offset },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 39, 2 ** 44 + 1) },
);
const session = fc.constantFrom(SESSION, OTHER_SESSION);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

const operations = {
  make: fc.record({
    parent: inode,
    name,
    inodeKind: fc.constantFrom<InodeKind>("file", "file", "file", "directory", "directory", "symlink", "fifo"),
    mode,
    uid: owner,
    gid: owner,
    target: fc.constantFrom("t", "a/b", ""),
  }),
  link: fc.record({ inode, parent: inode, name }),
  remove: fc.record({ entry: inode, parent: inode, name, directory: fc.boolean() }),
  rename: fc.record({
    entry: inode,
    newEntry: inode,
    parent: inode,
    name,
    newParent: inode,
    newName: name,
    mode: fc.constantFrom("replace", "replace", "noreplace", "exchange" as const),
  }),
  setattr: fc.record({
    inode,
    mode: optional(mode),
    uid: optional(owner),
    gid: optional(owner),
    size: optional(size),
    atime: optional(seconds),
    mtime: optional(seconds),
    killPrivileges: optional(fc.constant(true)),
  }),
  write: fc.record({
    inode,
    pieces: fc.array(fc.record({ offset, length: fc.integer({ min: 1, max: 30 }), slice: fc.boolean() }), {
      minLength: 1,
      maxLength: 3,
    }),
    fill: fc.nat(255),
    killPrivileges: fc.boolean(),
    session,
  }),
  fallocate: fc.record({
    inode,
    mode: fc.constantFrom("allocate", "keepSize", "punch", "punch", "zero" as const),
    offset,
    length: fc.oneof(fc.nat(50), fc.constant(2 * CHUNK_BYTES)),
  }),
  setxattr: fc.record({
    inode: fewInodes,
    name: fc.oneof({ weight: 9, arbitrary: xattrName }, { weight: 1, arbitrary: fc.constantFrom("", "n".repeat(256)) }),
    value: fc.constantFrom("", "1", "two"),
    mode: fc.constantFrom("either", "create", "replace" as const),
  }),
  removexattr: fc.record({ inode: fewInodes, name: xattrName }),
  lock: fc.record({
    inode: fewInodes,
    table: fc.constantFrom("posix", "flock" as const),
    owner: fc.constantFrom("x", "y"),
    mode: fc.constantFrom("read", "write", "unlock" as const),
    start: fc.nat(10),
    end: fc.oneof(fc.nat(11), fc.constant(Number.MAX_SAFE_INTEGER)),
    session,
  }),
  reopen: fc.record({ session }),
  reap: fc.record({ inode, partly: fc.boolean() }),
  retry: fc.record({ back: fc.nat(15) }),
};
export type Operations = {
  [K in keyof typeof operations]: (typeof operations)[K] extends fc.Arbitrary<infer T> ? T : never;
};

const weights: { [K in keyof Operations]: number } = {
  make: 12,
  link: 4,
  remove: 5,
  rename: 8,
  setattr: 6,
  write: 12,
  fallocate: 4,
  setxattr: 4,
  removexattr: 2,
  lock: 6,
  reopen: 1,
  reap: 3,
  retry: 3,
};
export const operation = fc.oneof(
  ...Object.entries(operations).map(([kind, arbitrary]) => ({
    weight: weights[kind as keyof Operations],
    arbitrary: (arbitrary as fc.Arbitrary<object>).map((fields) => ({ kind, ...fields })) as fc.Arbitrary<
      { [K in keyof Operations]: { kind: K } & Operations[K] }[keyof Operations]
    >,
  })),
);
