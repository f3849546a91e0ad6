import fc from "fast-check";
import type { Attributes, Command, CommandKind, Extent, Outcome, Slice, Stamp } from "../../core/commands.ts";
import { ERRNO } from "../../core/errno.ts";
import { type ByteString, type Inode, idInEpoch, type Time, type Version } from "../../core/ids.ts";

/** Arbitrary values of each type that has an encoding, for round trips and fuzzing. */
const uint = fc.oneof(fc.nat(300), fc.maxSafeNat());
export const id = <T extends number>() => uint as unknown as fc.Arbitrary<T>;
export const byteString = (maxLength = 40) =>
  fc
    .uint8Array({ maxLength })
    .map((bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("") as ByteString);
export const time: fc.Arbitrary<Time> = fc.record({
  seconds: fc.oneof(fc.integer(), fc.maxSafeInteger()),
  nanoseconds: fc.nat(999_999_999),
});
const text = fc.string({ unit: "grapheme", maxLength: 20 });
const region = fc.nat(15) as unknown as fc.Arbitrary<never>;
const epoch = fc.integer({ min: 16, max: 2 ** 17 - 1 }) as unknown as fc.Arbitrary<never>;
const inodeKind = fc.constantFrom("file", "directory", "symlink", "fifo", "character", "block", "socket" as const);
const timeChange = fc.oneof(time, fc.constant("now" as const));

export const slice: fc.Arbitrary<Slice> = fc.record({
  id: id(),
  bytes: uint,
  home: region,
  crc32c: fc.array(fc.nat(2 ** 32 - 1), { maxLength: 5 }),
});

const extent: fc.Arbitrary<Extent> = fc.oneof(
  fc.record({ kind: fc.constant("inline" as const), offset: uint, data: fc.uint8Array({ maxLength: 50 }) }),
  fc.record({ kind: fc.constant("slice" as const), offset: uint, slice }),
);

export const attributes: fc.Arbitrary<Attributes> = fc.record({
  inode: id(),
  kind: inodeKind,
  policy: fc.nat(255),
  mode: fc.nat(0o7777),
  uid: uint,
  gid: uint,
  links: uint,
  size: uint,
  usedBytes: uint,
  device: uint,
  atime: time,
  mtime: time,
  ctime: time,
  entries: uint,
  xattrs: uint,
  parent: id(),
  changed: id(),
});

const place = { parent: id<never>(), name: byteString() };

/** A command of each kind. Total: a new kind does not compile before it has a round trip. */
const commandsByKind: {
  readonly [K in CommandKind]: fc.Arbitrary<Omit<Extract<Command, { kind: K }>, "kind">>;
} = {
  format: fc.record({ uuid: text, volume: text, regions: fc.array(text, { minLength: 1, maxLength: 16 }) }).chain((v) =>
    fc.record({
      uuid: fc.constant(v.uuid),
      volume: fc.constant(v.volume),
      regions: fc.constant(v.regions),
      primary: fc.nat(v.regions.length - 1) as unknown as fc.Arbitrary<never>,
      features: fc.integer({ min: 1, max: 1000 }),
    }),
  ),
  beginEpoch: fc.oneof(
    fc.record({ epoch, how: fc.constantFrom("sealed", "counters", "forced" as const) }),
    fc.record({ epoch, how: fc.constant("resumed" as const), declined: fc.record({ epoch, sequence: id<never>() }) }),
  ),
  seal: fc.record({ to: region }),
  setFeatures: fc.record({ level: uint }),
  regionProgress: fc.record({ region, version: fc.record({ epoch: id<never>(), sequence: id<never>() }) }),
  openSession: fc.record({ session: id<never>(), client: text, region }),
  closeSession: fc.record({ session: id<never>() }),
  grantSlices: fc.record({ count: uint }),
  make: fc.record({
    ...place,
    inodeKind,
    mode: uint,
    uid: uint,
    gid: uint,
    device: uint,
    target: byteString(5000),
  }),
  link: fc.record({ inode: id<never>(), ...place }),
  unlink: fc.record(place),
  rmdir: fc.record(place),
  rename: fc.record({
    ...place,
    newParent: id<never>(),
    newName: byteString(),
    mode: fc.constantFrom("replace", "noreplace", "exchange" as const),
  }),
  setattr: fc.record(
    {
      inode: id<never>(),
      mode: uint,
      uid: uint,
      gid: uint,
      size: uint,
      atime: timeChange,
      mtime: timeChange,
      ctime: timeChange,
      killPrivileges: fc.constant(true),
    },
    { requiredKeys: ["inode"] },
  ),
  write: fc.record(
    { inode: id<never>(), extents: fc.array(extent, { maxLength: 4 }), mtime: time, killPrivileges: fc.constant(true) },
    { requiredKeys: ["inode", "extents"] },
  ),
  fallocate: fc.record({
    inode: id<never>(),
    mode: fc.constantFrom("allocate", "keepSize", "punch", "zero" as const),
    offset: uint,
    length: uint,
  }),
  setxattr: fc.record({
    inode: id<never>(),
    name: byteString(),
    value: fc.uint8Array({ maxLength: 40 }),
    mode: fc.constantFrom("either", "create", "replace" as const),
  }),
  removexattr: fc.record({ inode: id<never>(), name: byteString() }),
  lock: fc.record({
    inode: id<never>(),
    table: fc.constantFrom("posix", "flock" as const),
    owner: text,
    mode: fc.constantFrom("read", "write", "unlock" as const),
    start: uint,
    end: uint,
    pid: uint,
  }),
  reap: fc.record({
    inode: id<never>(),
    chunks: fc.array(uint, { maxLength: 5 }),
    xattrs: fc.array(byteString(), { maxLength: 3 }),
  }),
};

export const command: fc.Arbitrary<Command> = fc.oneof(
  ...Object.entries(commandsByKind).map(([kind, arbitrary]) =>
    (arbitrary as fc.Arbitrary<object>).map((fields) => ({ kind, ...fields }) as Command),
  ),
);

export const stamp: fc.Arbitrary<Stamp> = fc.record({
  epoch: id(),
  now: time,
  session: id(),
  request: uint,
  lowWater: uint,
});

export const version: fc.Arbitrary<Version> = fc.record({ epoch: id(), sequence: id() });

export const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({
    ok: fc.constant(false as const),
    error: fc.constantFrom(...(Object.keys(ERRNO) as (keyof typeof ERRNO)[]), "NOSESSION" as const),
  }),
  fc.record(
    {
      ok: fc.constant(true as const),
      attributes,
      grant: fc.record({ first: id<never>(), count: uint }),
      removed: fc.constant(idInEpoch(16 as never, 7) as Inode),
    },
    { requiredKeys: ["ok"] },
  ),
);
