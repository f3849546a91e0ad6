import type {
  AttributesReply,
  Caller,
  EntryReply,
  Handlers,
  LockRange,
  OpenReply,
  Reply,
  Result,
  SetAttributes,
  StatFsReply,
  WriteOptions,
} from "../../../../client/volume/handlers.ts";
import type { Attributes } from "../../../../core/commands.ts";
import type { ByteString, Inode } from "../../../../core/ids.ts";
import { LockTable } from "./locks.ts";
import { attributesOf, entryOf, makeNode, type Node, now, resize, writeAt } from "./nodes.ts";

const ROOT = 1 as Inode;
/** Inode numbers that only fit in 53 bits. */
const FIRST_INODE = 2 ** 52 + 12_345;

/** What a test can set: how long the kernel may cache, and what is slow. */
export interface MemoryOptions {
  /** How long entries and attributes are valid in the kernel, ms. */
  validMs?: number;
  keepCache?: boolean;
  directIo?: boolean;
  /** Every result comes by a promise, after this delay, ms. */
  delayMs?: number;
}

/**
 * A file system in memory, for the tests of client/fuse: complete enough for real programs.
 * A file named `slow-MS` answers its reads after MS milliseconds, one named `never` not at all (until aborted, if its
 * name ends in `-abortable`). One named `late…` is not found before a CREATE was refused because of it.
 */
export class MemoryHandlers implements Handlers {
  readonly nodes = new Map<Inode, Node>();
  readonly options: MemoryOptions;
  readonly counts = {
    forgotten: 0,
    destroyed: 0,
    opens: 0,
    releases: 0,
    aborted: 0,
    lookups: 0,
    reads: 0,
    durableWrites: 0,
    readlinks: 0,
  };
  readonly #open = new Map<number, Node>();
  readonly #locks = new Map<string, LockTable>();
  readonly #refused = new Set<ByteString>();
  #nextInode = FIRST_INODE;
  #nextHandle = 1;

  constructor(options: MemoryOptions) {
    this.options = options;
    const root = makeNode(ROOT, "directory", 0o755, { uid: 0, gid: 0 });
    root.parent = ROOT;
    this.nodes.set(ROOT, root);
  }

  #entry(node: Node): EntryReply {
    return entryOf(node, this.options.validMs ?? 0);
  }

  #attributes(node: Node): AttributesReply {
    return { attributes: attributesOf(node), validMs: this.options.validMs ?? 0 };
  }

  /** The inode, open or linked. */
  #node(inode: Inode): Node | undefined {
    return this.nodes.get(inode);
  }

  /** Returns the result directly, or by a promise when `delayMs` is set. */
  #later<T>(value: Result<T>): Reply<T> {
    const { delayMs } = this.options;
    if (delayMs === undefined) return value;
    return new Promise((resolve) =>
      delayMs === 0 ? setImmediate(resolve, value) : setTimeout(resolve, delayMs, value),
    );
  }

  lookup(_caller: Caller, parent: Inode, name: ByteString): Reply<EntryReply> {
    this.counts.lookups++;
    const child = this.#node(parent)?.children.get(name);
    const isLate = name.startsWith("late") && !this.#refused.has(name);
    return this.#later(child === undefined || isLate ? "ENOENT" : this.#entry(child));
  }

  forget(_inode: Inode, count: number): void {
    this.counts.forgotten += count;
  }

  getattr(_caller: Caller, inode: Inode): Reply<AttributesReply> {
    const node = this.#node(inode);
    return this.#later(node === undefined ? "ENOENT" : this.#attributes(node));
  }

  setattr(_caller: Caller, inode: Inode, changes: SetAttributes): Reply<AttributesReply> {
    const node = this.#node(inode);
    if (node === undefined) return "ENOENT";
    const time = now();
    if (changes.mode !== undefined) node.mode = changes.mode;
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.size !== undefined) {
      resize(node, changes.size);
      node.mtime = time;
    }
    if (changes.atime !== undefined) node.atime = changes.atime === "now" ? time : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === "now" ? time : changes.mtime;
    if (changes.killPrivileges) node.mode &= ~0o6000;
    node.ctime = time;
    return this.#later(this.#attributes(node));
  }

  readlink(_caller: Caller, inode: Inode): Reply<{ target: ByteString }> {
    this.counts.readlinks++;
    const node = this.#node(inode);
    return this.#later(node === undefined ? "ENOENT" : { target: node.target });
  }

  make(
    caller: Caller,
    parent: Inode,
    name: ByteString,
    what: { kind: Attributes["kind"]; mode: number; umask: number; device: number; target: ByteString },
  ): Reply<EntryReply> {
    const directory = this.#node(parent);
    if (directory === undefined) return "ENOENT";
    if (name.length > 255) return "ENAMETOOLONG";
    if (directory.children.has(name)) return "EEXIST";
    const mode = what.kind === "symlink" ? what.mode : what.mode & ~what.umask;
    const node = makeNode(this.#nextInode++, what.kind, mode, caller);
    node.device = what.device;
    node.target = what.target;
    if (what.kind === "symlink") node.size = what.target.length;
    if ((directory.mode & 0o2000) !== 0) {
      node.gid = directory.gid;
      if (what.kind === "directory") node.mode |= 0o2000;
    }
    this.nodes.set(node.inode, node);
    this.#enter(directory, name, node);
    return this.#later(this.#entry(node));
  }

  #enter(directory: Node, name: ByteString, node: Node): void {
    directory.children.set(name, node);
    directory.cookies.set(name, directory.nextCookie++);
    node.parent = directory.inode;
    if (node.kind === "directory") directory.links++;
    directory.mtime = directory.ctime = now();
  }

  #leave(directory: Node, name: ByteString): void {
    const node = directory.children.get(name)!;
    directory.children.delete(name);
    directory.cookies.delete(name);
    if (node.kind === "directory") directory.links--;
    directory.mtime = directory.ctime = now();
  }

  #unlinkNode(node: Node): void {
    node.links = node.kind === "directory" ? 0 : node.links - 1;
    node.ctime = now();
    if (node.links === 0 && ![...this.#open.values()].includes(node)) this.nodes.delete(node.inode);
  }

  unlink(_caller: Caller, parent: Inode, name: ByteString): Reply<true> {
    const directory = this.#node(parent);
    const node = directory?.children.get(name);
    if (directory === undefined || node === undefined) return "ENOENT";
    if (node.kind === "directory") return "EISDIR";
    this.#leave(directory, name);
    this.#unlinkNode(node);
    return this.#later(true);
  }

  rmdir(_caller: Caller, parent: Inode, name: ByteString): Reply<true> {
    const directory = this.#node(parent);
    const node = directory?.children.get(name);
    if (directory === undefined || node === undefined) return "ENOENT";
    if (node.kind !== "directory") return "ENOTDIR";
    if (node.children.size > 0) return "ENOTEMPTY";
    this.#leave(directory, name);
    this.#unlinkNode(node);
    return this.#later(true);
  }

  rename(
    _caller: Caller,
    parent: Inode,
    name: ByteString,
    newParent: Inode,
    newName: ByteString,
    mode: "replace" | "noreplace" | "exchange",
  ): Reply<true> {
    const [from, to] = [this.#node(parent), this.#node(newParent)];
    const node = from?.children.get(name);
    if (from === undefined || to === undefined || node === undefined) return "ENOENT";
    const over = to.children.get(newName);
    if (over === node) return true;
    if (mode === "noreplace" && over !== undefined) return "EEXIST";
    if (mode === "exchange" && over === undefined) return "ENOENT";
    if (mode !== "exchange" && over !== undefined) {
      if (over.kind === "directory" && over.children.size > 0) return "ENOTEMPTY";
      if (over.kind === "directory" && node.kind !== "directory") return "EISDIR";
      if (over.kind !== "directory" && node.kind === "directory") return "ENOTDIR";
    }
    this.#leave(from, name);
    if (over !== undefined) this.#leave(to, newName);
    this.#enter(to, newName, node);
    if (mode === "exchange") this.#enter(from, name, over!);
    else if (over !== undefined) this.#unlinkNode(over);
    node.ctime = now();
    return this.#later(true);
  }

  link(_caller: Caller, inode: Inode, newParent: Inode, newName: ByteString): Reply<EntryReply> {
    const [node, directory] = [this.#node(inode), this.#node(newParent)];
    if (node === undefined || directory === undefined) return "ENOENT";
    if (directory.children.has(newName)) return "EEXIST";
    this.#enter(directory, newName, node);
    node.links++;
    node.ctime = now();
    return this.#later(this.#entry(node));
  }

  #openNode(node: Node): OpenReply {
    const handle = this.#nextHandle++;
    this.#open.set(handle, node);
    this.counts.opens++;
    return { handle, keepCache: this.options.keepCache ?? false, directIo: this.options.directIo ?? false };
  }

  open(_caller: Caller, inode: Inode, flags: number, killPrivileges: boolean): Reply<OpenReply> {
    const node = this.#node(inode);
    if (node === undefined) return "ENOENT";
    if ((flags & 0o1000) !== 0) {
      resize(node, 0);
      if (killPrivileges) node.mode &= ~0o6000;
      node.mtime = node.ctime = now();
    }
    const name = this.#nameOf(node);
    if (name === "slow-open") {
      const reply = this.#openNode(node);
      return new Promise((resolve) => setTimeout(resolve, 1500, reply));
    }
    return this.#later(this.#openNode(node));
  }

  #nameOf(node: Node): string {
    for (const [name, child] of this.#node(node.parent)?.children ?? []) if (child === node) return name;
    return "";
  }

  async create(caller: Caller, parent: Inode, name: ByteString, mode: number, umask: number, flags: number) {
    const entry = await this.make(caller, parent, name, {
      kind: "file",
      mode,
      umask,
      device: 0,
      target: "" as ByteString,
    });
    if (entry === "EEXIST") this.#refused.add(name);
    if (typeof entry === "string") return entry === "EEXIST" && (flags & 0o200) === 0 ? "ESTALE" : entry;
    const open = await this.open(caller, entry.attributes.inode, flags, false);
    return typeof open === "string" ? open : { entry, open };
  }

  read(caller: Caller, inode: Inode, handle: number, offset: number, length: number): Reply<Uint8Array> {
    this.counts.reads++;
    const node = this.#open.get(handle) ?? this.#node(inode);
    if (node === undefined) return "ENOENT";
    const data = node.data.subarray(offset, Math.min(offset + length, node.size));
    const name = this.#nameOf(node);
    if (name.startsWith("slow-")) return new Promise((resolve) => setTimeout(resolve, Number(name.slice(5)), data));
    if (name.startsWith("never")) {
      return new Promise((resolve) => {
        caller.signal.addEventListener("abort", () => {
          this.counts.aborted++;
          if (name.endsWith("-abortable")) resolve("EINTR");
        });
      });
    }
    return this.#later(data);
  }

  write(
    _caller: Caller,
    inode: Inode,
    handle: number,
    offset: number,
    data: Uint8Array,
    options: WriteOptions,
  ): Reply<number> {
    const node = this.#open.get(handle) ?? this.#node(inode);
    if (node === undefined) return "ENOENT";
    if (options.durable) this.counts.durableWrites++;
    const put = () => {
      writeAt(node, offset, data);
      node.mtime = node.ctime = now();
      if (options.killPrivileges) node.mode &= ~0o6000;
      return data.length;
    };
    // After the delay the bytes must still be valid.
    return this.options.delayMs === undefined
      ? put()
      : new Promise<void>((resolve) => setTimeout(resolve, this.options.delayMs)).then(put);
  }

  flush(_caller: Caller, inode: Inode, _handle: number, lockOwner: string): Reply<true> {
    this.#table(inode, false).releaseAll(lockOwner);
    return this.#later(true);
  }

  release(_caller: Caller, inode: Inode, handle: number, flockOwner: string | undefined): Reply<true> {
    const node = this.#open.get(handle);
    this.#open.delete(handle);
    this.counts.releases++;
    if (flockOwner !== undefined) this.#table(inode, true).releaseAll(flockOwner);
    if (node?.links === 0 && ![...this.#open.values()].includes(node)) this.nodes.delete(node.inode);
    return this.#later(true);
  }

  fsync(): Reply<true> {
    return this.#later(true);
  }

  fallocate(_caller: Caller, inode: Inode, _handle: number, mode: number, offset: number, length: number): Reply<true> {
    const node = this.#node(inode);
    if (node === undefined) return "ENOENT";
    if (mode === 0 && offset + length > node.size) resize(node, offset + length);
    else if (mode === 3) node.data.fill(0, offset, Math.min(offset + length, node.size));
    else if (mode > 1) return "EOPNOTSUPP";
    return this.#later(true);
  }

  opendir(_caller: Caller, inode: Inode): Reply<OpenReply> {
    return this.#later(this.#node(inode) === undefined ? "ENOENT" : { handle: inode, keepCache: false });
  }

  readdir(_caller: Caller, inode: Inode, _handle: number, offset: number, plus: boolean) {
    const node = this.#node(inode);
    if (node === undefined) return "ENOENT";
    const self = { kind: "directory" as const };
    const entries = [
      { ...self, name: "." as ByteString, inode, nextOffset: 1 },
      { ...self, name: ".." as ByteString, inode: node.parent, nextOffset: 2 },
    ].filter((entry) => entry.nextOffset > offset);
    for (const [name, child] of node.children) {
      const nextOffset = node.cookies.get(name)!;
      if (nextOffset <= offset) continue;
      const entry = plus ? { entry: this.#entry(child) } : {};
      entries.push({ name, inode: child.inode, kind: child.kind as "directory", nextOffset, ...entry });
      if (entries.length >= 1000) break;
    }
    return this.#later(entries);
  }

  releasedir(): Reply<true> {
    return this.#later(true);
  }

  fsyncdir(): Reply<true> {
    return this.#later(true);
  }

  statfs(): Reply<StatFsReply> {
    return this.#later({
      blockBytes: 4096,
      blocks: 2 ** 40,
      blocksFree: 2 ** 39,
      inodes: 2 ** 33,
      inodesFree: 2 ** 32,
    });
  }

  getxattr(_caller: Caller, inode: Inode, name: ByteString): Reply<Uint8Array> {
    return this.#later<Uint8Array>(this.#node(inode)?.xattrs.get(name) ?? "ENODATA");
  }

  listxattr(_caller: Caller, inode: Inode): Reply<readonly ByteString[]> {
    return this.#later([...(this.#node(inode)?.xattrs.keys() ?? [])]);
  }

  setxattr(_caller: Caller, inode: Inode, name: ByteString, value: Uint8Array, flags: number): Reply<true> {
    const node = this.#node(inode);
    if (node === undefined) return "ENOENT";
    if (flags === 1 && node.xattrs.has(name)) return "EEXIST";
    if (flags === 2 && !node.xattrs.has(name)) return "ENODATA";
    node.xattrs.set(name, Buffer.from(value));
    node.ctime = now();
    return this.#later(true);
  }

  removexattr(_caller: Caller, inode: Inode, name: ByteString): Reply<true> {
    return this.#later(this.#node(inode)?.xattrs.delete(name) ? true : "ENODATA");
  }

  #table(inode: Inode, flock: boolean): LockTable {
    const key = `${flock ? "flock" : "posix"} ${inode}`;
    const table = this.#locks.get(key) ?? new LockTable();
    this.#locks.set(key, table);
    return table;
  }

  getlk(_caller: Caller, inode: Inode, _handle: number, owner: string, range: LockRange): Reply<LockRange> {
    return this.#later<LockRange>(this.#table(inode, false).conflict(owner, range) ?? { ...range, mode: "unlock" });
  }

  setlk(
    caller: Caller,
    inode: Inode,
    _handle: number,
    owner: string,
    range: LockRange,
    { wait, flock }: { wait: boolean; flock: boolean },
  ): Reply<true> {
    const table = this.#table(inode, flock);
    if (range.mode !== "unlock" && table.conflict(owner, range) !== undefined) {
      return wait ? table.wait(owner, range, caller.signal) : "EAGAIN";
    }
    table.put(owner, range);
    return this.#later(true);
  }

  lseek(_caller: Caller, inode: Inode, _handle: number, offset: number, whence: number): Reply<number> {
    const size = this.#node(inode)?.size ?? 0;
    if (offset >= size) return "ENXIO";
    return this.#later(whence === 3 ? offset : size);
  }

  destroy(): void {
    this.counts.destroyed++;
  }
}
