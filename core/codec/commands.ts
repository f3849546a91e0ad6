import { COMMANDS, type Command, type CommandKind, type CommandOf, type Extent, type TimeChange } from "../commands.ts";
import {
  type ByteString,
  EPOCH_NUMBER_MAX,
  type EpochCode,
  epochNumber,
  type Inode,
  REGIONS_MAX,
  type RegionIndex,
  type Sequence,
  type SessionId,
} from "../ids.ts";
import { CodecError, CodeTable, encodeWith, Reader, type Writer } from "./bytes.ts";
import { INODE_KINDS, readSlice, readVersion, writeSlice, writeVersion } from "./values.ts";

/** A command: a format byte, the code of its kind, its fields. */
const FORMAT = 1;

const KINDS = new CodeTable<CommandKind>(codesOfKinds());
const BEGINNINGS = new CodeTable<CommandOf<"beginEpoch">["how"]>({ sealed: 1, resumed: 2, counters: 3, forced: 4 });
const RENAME_MODES = new CodeTable<CommandOf<"rename">["mode"]>({ replace: 0, noreplace: 1, exchange: 2 });
const FALLOCATE_MODES = new CodeTable<CommandOf<"fallocate">["mode"]>({ allocate: 0, keepSize: 1, punch: 2, zero: 3 });
const XATTR_MODES = new CodeTable<CommandOf<"setxattr">["mode"]>({ either: 0, create: 1, replace: 2 });
const LOCK_TABLES = new CodeTable<CommandOf<"lock">["table"]>({ posix: 0, flock: 1 });
const LOCK_MODES = new CodeTable<CommandOf<"lock">["mode"]>({ read: 0, write: 1, unlock: 2 });

function codesOfKinds(): Record<CommandKind, number> {
  const codes = Object.entries(COMMANDS).map(([kind, { code }]) => [kind, code]);
  return Object.fromEntries(codes) as Record<CommandKind, number>;
}

interface Codec<K extends CommandKind> {
  write(w: Writer, command: CommandOf<K>): void;
  read(r: Reader): Omit<CommandOf<K>, "kind">;
}

const codecs: { readonly [K in CommandKind]: Codec<K> } = {
  format: {
    write(w, c) {
      checkFormat(c);
      w.text(c.uuid);
      w.text(c.volume);
      w.uint(c.regions.length);
      for (const region of c.regions) w.text(region);
      w.uint(c.primary);
      w.uint(c.features);
    },
    read: (r) =>
      checkFormat({
        uuid: r.text(),
        volume: r.text(),
        regions: r.list(1, () => r.text()),
        primary: r.uint() as RegionIndex,
        features: r.uint(),
      }),
  },
  beginEpoch: {
    write(w, c) {
      w.uint(checkEpoch(c.epoch));
      w.u8(BEGINNINGS.code(c.how));
      if (c.how === "resumed") writeVersion(w, c.declined);
    },
    read(r) {
      const epoch = checkEpoch(r.uint());
      const how = BEGINNINGS.name(r.u8());
      return how === "resumed" ? { epoch, how, declined: readVersion(r) } : { epoch, how };
    },
  },
  seal: {
    write: (w, c) => w.uint(checkRegion(c.to)),
    read: (r) => ({ to: checkRegion(r.uint()) }),
  },
  // Every version of the program must be able to read it: its encoding never changes.
  setFeatures: {
    write: (w, c) => w.uint(c.level),
    read: (r) => ({ level: r.uint() }),
  },
  regionProgress: {
    write(w, c) {
      w.uint(checkRegion(c.region));
      w.uint(c.version.epoch);
      w.uint(c.version.sequence);
    },
    read: (r) => ({
      region: checkRegion(r.uint()),
      version: { epoch: r.uint() as EpochCode, sequence: r.uint() as Sequence },
    }),
  },
  openSession: {
    write(w, c) {
      w.uint(c.session);
      w.text(c.client);
      w.uint(checkRegion(c.region));
    },
    read: (r) => ({ session: r.uint() as SessionId, client: r.text(), region: checkRegion(r.uint()) }),
  },
  closeSession: {
    write: (w, c) => w.uint(c.session),
    read: (r) => ({ session: r.uint() as SessionId }),
  },
  grantSlices: {
    write: (w, c) => w.uint(c.count),
    read: (r) => ({ count: r.uint() }),
  },
  make: {
    write(w, c) {
      w.uint(c.parent);
      w.byteString(c.name);
      w.u8(INODE_KINDS.code(c.inodeKind));
      w.uint(c.mode);
      w.uint(c.uid);
      w.uint(c.gid);
      w.uint(c.device);
      w.byteString(c.target);
    },
    read: (r) => ({
      parent: r.uint() as Inode,
      name: r.byteString(),
      inodeKind: INODE_KINDS.name(r.u8()),
      mode: r.uint(),
      uid: r.uint(),
      gid: r.uint(),
      device: r.uint(),
      target: r.byteString(),
    }),
  },
  link: {
    write(w, c) {
      w.uint(c.inode);
      writeName(w, c);
    },
    read: (r) => ({ inode: r.uint() as Inode, ...readName(r) }),
  },
  unlink: { write: writeName, read: readName },
  rmdir: { write: writeName, read: readName },
  rename: {
    write(w, c) {
      writeName(w, c);
      w.uint(c.newParent);
      w.byteString(c.newName);
      w.u8(RENAME_MODES.code(c.mode));
    },
    read: (r) => ({
      ...readName(r),
      newParent: r.uint() as Inode,
      newName: r.byteString(),
      mode: RENAME_MODES.name(r.u8()),
    }),
  },
  setattr: { write: writeSetattr, read: readSetattr },
  write: {
    write(w, c) {
      w.uint(c.inode);
      w.uint(c.extents.length);
      for (const extent of c.extents) writeExtent(w, extent);
      w.bool(c.mtime !== undefined);
      if (c.mtime !== undefined) w.time(c.mtime);
      w.bool(c.killPrivileges === true);
    },
    read: (r) => ({
      inode: r.uint() as Inode,
      extents: r.list(3, () => readExtent(r)),
      ...(r.bool() ? { mtime: r.time() } : {}),
      ...(r.bool() ? { killPrivileges: true } : {}),
    }),
  },
  fallocate: {
    write(w, c) {
      w.uint(c.inode);
      w.u8(FALLOCATE_MODES.code(c.mode));
      w.uint(c.offset);
      w.uint(c.length);
    },
    read: (r) => ({
      inode: r.uint() as Inode,
      mode: FALLOCATE_MODES.name(r.u8()),
      offset: r.uint(),
      length: r.uint(),
    }),
  },
  setxattr: {
    write(w, c) {
      w.uint(c.inode);
      w.byteString(c.name);
      w.bytes(c.value);
      w.u8(XATTR_MODES.code(c.mode));
    },
    read: (r) => ({
      inode: r.uint() as Inode,
      name: r.byteString(),
      value: r.bytes(),
      mode: XATTR_MODES.name(r.u8()),
    }),
  },
  removexattr: {
    write(w, c) {
      w.uint(c.inode);
      w.byteString(c.name);
    },
    read: (r) => ({ inode: r.uint() as Inode, name: r.byteString() }),
  },
  lock: {
    write(w, c) {
      w.uint(c.inode);
      w.u8(LOCK_TABLES.code(c.table));
      w.text(c.owner);
      w.u8(LOCK_MODES.code(c.mode));
      w.uint(c.start);
      w.uint(c.end);
      w.uint(c.pid);
    },
    read: (r) => ({
      inode: r.uint() as Inode,
      table: LOCK_TABLES.name(r.u8()),
      owner: r.text(),
      mode: LOCK_MODES.name(r.u8()),
      start: r.uint(),
      end: r.uint(),
      pid: r.uint(),
    }),
  },
  reap: {
    write(w, c) {
      w.uint(c.inode);
      w.uint(c.chunks.length);
      for (const index of c.chunks) w.uint(index);
      w.uint(c.xattrs.length);
      for (const name of c.xattrs) w.byteString(name);
    },
    read: (r) => ({
      inode: r.uint() as Inode,
      chunks: r.list(1, () => r.uint()),
      xattrs: r.list(1, () => r.byteString()),
    }),
  },
};

function checkFormat<T extends Omit<CommandOf<"format">, "kind">>(format: T): T {
  const regions = format.regions.length;
  if (regions < 1 || regions > REGIONS_MAX) throw new CodecError(`format: ${regions} regions, not 1…${REGIONS_MAX}`);
  if (!(format.primary < regions))
    throw new CodecError(`format: primary ${format.primary} is not one of the ${regions} regions`);
  if (format.features < 1) throw new CodecError(`format: feature level ${format.features} is below 1`);
  return format;
}

function checkEpoch(epoch: number): EpochCode {
  const number = epochNumber(epoch as EpochCode);
  if (number < 1 || number > EPOCH_NUMBER_MAX)
    throw new CodecError(`epoch number ${number} is not 1…${EPOCH_NUMBER_MAX}`);
  return epoch as EpochCode;
}

function checkRegion(region: number): RegionIndex {
  if (region >= REGIONS_MAX) throw new CodecError(`region ${region} is not 0…${REGIONS_MAX - 1}`);
  return region as RegionIndex;
}

function writeName(w: Writer, at: { readonly parent: Inode; readonly name: ByteString }): void {
  w.uint(at.parent);
  w.byteString(at.name);
}

function readName(r: Reader): { parent: Inode; name: ByteString } {
  return { parent: r.uint() as Inode, name: r.byteString() };
}

const INLINE = 0;
const SLICE = 1;

function writeExtent(w: Writer, extent: Extent): void {
  w.u8(extent.kind === "inline" ? INLINE : SLICE);
  w.uint(extent.offset);
  if (extent.kind === "inline") w.bytes(extent.data);
  else writeSlice(w, extent.slice);
}

function readExtent(r: Reader): Extent {
  const tag = r.u8();
  if (tag > SLICE) throw r.fail(`unknown kind of extent ${tag}`);
  const offset = r.uint();
  return tag === INLINE ? { kind: "inline", offset, data: r.bytes() } : { kind: "slice", offset, slice: readSlice(r) };
}

// setattr: one bit for each field that is present, then these fields in this order.
const NUMBERS = ["mode", "uid", "gid", "size"] as const;
const TIMES = ["atime", "mtime", "ctime"] as const;
const KILL_PRIVILEGES = 1 << 7;

function writeSetattr(w: Writer, c: CommandOf<"setattr">): void {
  w.uint(c.inode);
  let present = c.killPrivileges === true ? KILL_PRIVILEGES : 0;
  NUMBERS.forEach((field, bit) => {
    if (c[field] !== undefined) present |= 1 << bit;
  });
  TIMES.forEach((field, bit) => {
    if (c[field] !== undefined) present |= 1 << (bit + NUMBERS.length);
  });
  w.u8(present);
  for (const field of NUMBERS) if (c[field] !== undefined) w.uint(c[field]);
  for (const field of TIMES) if (c[field] !== undefined) writeTimeChange(w, c[field]);
}

function writeTimeChange(w: Writer, change: TimeChange): void {
  w.bool(change === "now");
  if (change !== "now") w.time(change);
}

function readSetattr(r: Reader): Omit<CommandOf<"setattr">, "kind"> {
  const inode = r.uint() as Inode;
  const present = r.u8();
  const fields: Record<string, unknown> = {};
  NUMBERS.forEach((field, bit) => {
    if (present & (1 << bit)) fields[field] = r.uint();
  });
  TIMES.forEach((field, bit) => {
    if (present & (1 << (bit + NUMBERS.length))) fields[field] = r.bool() ? "now" : r.time();
  });
  if (present & KILL_PRIVILEGES) fields.killPrivileges = true;
  return { inode, ...fields };
}

/** @throws CodecError when a field's value has no encoding (negative, not an integer, a name that is not bytes). */
export function encodeCommand(command: Command): Uint8Array {
  return encodeWith((w) => {
    w.u8(FORMAT);
    w.u8(KINDS.code(command.kind));
    (codecs[command.kind] as Codec<CommandKind>).write(w, command);
  });
}

/** Reads a command, which must extend to the end of the reader's bytes. */
export function readCommand(r: Reader): Command {
  r.format(FORMAT);
  const kind = KINDS.name(r.u8());
  const command = { kind, ...codecs[kind].read(r) } as Command;
  r.end();
  return command;
}

/** @throws CodecError when the bytes are not a command. A server answers EINVAL then, and proposes nothing. */
export function decodeCommand(bytes: Uint8Array): Command {
  return readCommand(new Reader(bytes, "command"));
}
