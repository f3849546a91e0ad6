import type { EntryReply } from "../../../../client/volume/handlers.ts";
import type { Attributes, InodeKind } from "../../../../core/commands.ts";
import type { ByteString, Inode, Sequence, Time } from "../../../../core/ids.ts";

/** An inode of the test file system, content and all. */
export interface Node {
  inode: Inode;
  kind: InodeKind;
  mode: number;
  uid: number;
  gid: number;
  links: number;
  device: number;
  target: ByteString;
  parent: Inode;
  atime: Time;
  mtime: Time;
  ctime: Time;
  size: number;
  data: Buffer;
  readonly children: Map<ByteString, Node>;
  /** Offsets for readdir: each name keeps its offset for as long as it exists. */
  readonly cookies: Map<ByteString, number>;
  nextCookie: number;
  readonly xattrs: Map<ByteString, Buffer>;
}

export function now(): Time {
  const ns = process.hrtime.bigint() - START_NS + START_WALL_NS;
  return { seconds: Number(ns / 1_000_000_000n), nanoseconds: Number(ns % 1_000_000_000n) };
}
const START_NS = process.hrtime.bigint();
const START_WALL_NS = BigInt(Date.now()) * 1_000_000n;

export function makeNode(inode: number, kind: InodeKind, mode: number, owner: { uid: number; gid: number }): Node {
  const time = now();
  return {
    inode: inode as Inode,
    kind,
    mode,
    uid: owner.uid,
    gid: owner.gid,
    links: kind === "directory" ? 2 : 1,
    device: 0,
    target: "" as ByteString,
    parent: 0 as Inode,
    atime: time,
    mtime: time,
    ctime: time,
    size: kind === "directory" ? 4096 : 0,
    data: Buffer.alloc(0),
    children: new Map(),
    cookies: new Map(),
    nextCookie: 3,
    xattrs: new Map(),
  };
}

export function attributesOf(node: Node): Attributes {
  return {
    inode: node.inode,
    kind: node.kind,
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    links: node.links,
    size: node.size,
    usedBytes: node.size,
    device: node.device,
    atime: node.atime,
    mtime: node.mtime,
    ctime: node.ctime,
    entries: node.children.size,
    policy: 0,
    xattrs: node.xattrs.size,
    parent: node.parent,
    changed: 0 as Sequence,
  };
}

export function entryOf(node: Node, validMs: number): EntryReply {
  return { attributes: attributesOf(node), validMs, entryValidMs: validMs };
}

/** Writes; the buffer grows by doubling, so that many small writes take linear time. */
export function writeAt(node: Node, offset: number, bytes: Uint8Array): void {
  const end = offset + bytes.length;
  reserve(node, end);
  node.data.set(bytes, offset);
  if (end > node.size) node.size = end;
}

/** truncate(2): bytes beyond the end read as zeros when the file grows again. */
export function resize(node: Node, size: number): void {
  if (size < node.size) node.data.fill(0, size, Math.min(node.size, node.data.length));
  else reserve(node, size);
  node.size = size;
}

function reserve(node: Node, bytes: number): void {
  if (node.data.length >= bytes) return;
  const grown = Buffer.alloc(Math.max(bytes, node.data.length * 2, 4096));
  grown.set(node.data);
  node.data = grown;
}
