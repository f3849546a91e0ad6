/**
 * The reference model that core is compared with: a file system written from the manual pages, without regard to speed.
 * Directories are maps of nodes, a file is a map of single bytes, link counts are counted. It shares no code with core.
 */

import type { Command, CommandKind, CommandOf, InodeKind, TimeChange } from "../../core/commands.ts";

export interface Node {
  id: number;
  kind: InodeKind;
  mode: number;
  uid: number;
  gid: number;
  target: string;
  size: number;
  /** Offset → byte, only where data was written. */
  bytes: Map<number, number>;
  mtime: number;
  ctime: number;
  atime: number;
  xattrs: Map<string, Uint8Array>;
  children: Map<string, Node>;
}

/** "ok", or an errno's name. */
type Result = string;
const OK = "ok";
const FILE_BYTES_MAX = 2 ** 44;
const CHUNK_BYTES = 2 ** 26;

/** What a command comes with. */
interface Request {
  readonly session: number;
  /** Seconds. */
  readonly now: number;
  /** The inode number that core gave to what `make` made. */
  readonly made?: number | undefined;
}

type Handler<K extends CommandKind> = (command: CommandOf<K>, request: Request) => Result;

function nameError(name: string): Result | undefined {
  if (name.length > 255) return "ENAMETOOLONG";
  if (["", ".", ".."].includes(name) || /[/\0]/.test(name)) return "EINVAL";
  return undefined;
}

export class Reference {
  readonly root: Node;
  /** Every inode that was not reaped, with links or without. */
  readonly nodes = new Map<number, Node>();
  readonly locks = new ReferenceLocks();
  /** The content of the slices that commands name, by id. Filled by the caller. */
  readonly slices = new Map<number, Uint8Array>();
  #now: number;

  /** `formatted`: when the root was made, in seconds. */
  constructor(rootId: number, formatted: number) {
    this.#now = formatted;
    this.root = this.#node("directory", { mode: 0o755, uid: 0, gid: 0, target: "" });
    this.root.id = rootId;
    this.nodes.set(rootId, this.root);
  }

  run(command: Command, request: Request): Result {
    this.#now = request.now;
    return (this.#handlers[command.kind] as Handler<CommandKind>)(command, request);
  }

  /** Total: a new kind of command does not compile before the reference knows it. */
  readonly #handlers: { readonly [K in CommandKind]: Handler<K> } = {
    // The constructor does what format does. Epochs and levels are not visible in the tree; entries.test.ts tests them.
    format: () => OK,
    beginEpoch: () => OK,
    seal: () => OK,
    setFeatures: () => OK,
    regionProgress: () => OK,
    openSession: () => OK,
    closeSession: (command) => {
      this.locks.forget((_, holder) => holder.startsWith(`${command.session} `));
      return OK;
    },
    grantSlices: () => OK,
    make: (command, { made }) => this.#make(command, made),
    link: (command) => this.#link(command),
    unlink: (command) => this.#remove(command),
    rmdir: (command) => this.#remove(command),
    rename: (command) => this.#rename(command),
    setattr: (command) => this.#setattr(command),
    write: (command) => this.#write(command),
    fallocate: (command) => this.#fallocate(command),
    setxattr: (command) => this.#setxattr(command),
    removexattr: (command) => this.#removexattr(command),
    lock: (command, { session }) => this.#lock(command, session),
    reap: (command) => this.#reap(command),
  };

  #node(kind: InodeKind, from: { mode: number; uid: number; gid: number; target: string }): Node {
    const times = { mtime: this.#now, ctime: this.#now, atime: this.#now };
    const maps = { bytes: new Map(), xattrs: new Map(), children: new Map() };
    const size = kind === "directory" ? 4096 : kind === "symlink" ? from.target.length : 0;
    const { uid, gid, target } = from;
    const mode = kind === "symlink" ? 0o777 : from.mode;
    return { id: 0, kind, mode, uid, gid, target, size, ...times, ...maps };
  }

  #linked(): Node[] {
    const all: Node[] = [];
    const walk = (directory: Node) => {
      for (const child of directory.children.values()) {
        all.push(child);
        if (child.kind === "directory") walk(child);
      }
    };
    walk(this.root);
    return all;
  }

  links(node: Node): number {
    const names = this.#linked().filter((other) => other === node).length;
    if (node.kind !== "directory") return names;
    if (names === 0 && node !== this.root) return 0;
    return 2 + [...node.children.values()].filter((child) => child.kind === "directory").length;
  }

  /** A directory that can be searched, or why not. */
  #directory(id: number): Node | Result {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (node.kind !== "directory") return "ENOTDIR";
    return this.links(node) === 0 ? "ENOENT" : node;
  }

  #file(id: number): Node | Result {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (node.kind === "directory") return "EISDIR";
    return node.kind === "file" ? node : "EINVAL";
  }

  #touch(directory: Node): void {
    directory.mtime = this.#now;
    directory.ctime = this.#now;
  }

  #make(command: CommandOf<"make">, made: number | undefined): Result {
    const parent = this.#directory(command.parent);
    if (typeof parent === "string") return parent;
    const { name, inodeKind: kind } = command;
    if (kind === "symlink" && command.target === "") return "ENOENT";
    const error = nameError(name);
    if (error) return error;
    if (parent.children.has(name)) return "EEXIST";
    const node = this.#node(kind, command);
    if (parent.mode & 0o2000) {
      node.gid = parent.gid;
      if (kind === "directory") node.mode |= 0o2000;
    }
    node.id = made ?? -1;
    this.nodes.set(node.id, node);
    parent.children.set(name, node);
    this.#touch(parent);
    return OK;
  }

  #link(command: CommandOf<"link">): Result {
    const node = this.nodes.get(command.inode);
    if (node === undefined) return "ESTALE";
    const parent = this.#directory(command.parent);
    if (typeof parent === "string") return parent;
    const error = nameError(command.name);
    if (error) return error;
    if (parent.children.has(command.name)) return "EEXIST";
    if (node.kind === "directory") return "EPERM";
    if (this.links(node) === 0) return "ENOENT";
    parent.children.set(command.name, node);
    node.ctime = this.#now;
    this.#touch(parent);
    return OK;
  }

  #remove({ kind, parent: parentId, name }: CommandOf<"unlink" | "rmdir">): Result {
    const parent = this.#directory(parentId);
    if (typeof parent === "string") return parent;
    const error = nameError(name);
    if (error) return error;
    const node = parent.children.get(name);
    if (node === undefined) return "ENOENT";
    if (kind === "rmdir" && node.kind !== "directory") return "ENOTDIR";
    if (kind === "unlink" && node.kind === "directory") return "EISDIR";
    if (node.children.size > 0) return "ENOTEMPTY";
    parent.children.delete(name);
    node.ctime = this.#now;
    this.#touch(parent);
    return OK;
  }

  #isWithin(node: Node, directory: Node): boolean {
    if (directory === node) return true;
    return [...directory.children.values()].some((child) => this.#isWithin(node, child));
  }

  #rename({ parent, name, newParent, newName, mode }: CommandOf<"rename">): Result {
    const from = this.#directory(parent);
    if (typeof from === "string") return from;
    const fromError = nameError(name);
    if (fromError) return fromError;
    const to = this.#directory(newParent);
    if (typeof to === "string") return to;
    const toError = nameError(newName);
    if (toError) return toError;
    const source = from.children.get(name);
    const target = to.children.get(newName);
    if (source === undefined) return "ENOENT";
    if (mode === "noreplace" && target) return "EEXIST";
    if (source.kind === "directory" && this.#isWithin(to, source)) return "EINVAL";
    if (mode === "exchange") {
      if (target === undefined) return "ENOENT";
      if (target.kind === "directory" && this.#isWithin(from, target)) return "EINVAL";
      if (target === source) return OK;
      from.children.set(name, target);
      to.children.set(newName, source);
    } else {
      if (target === source) return OK;
      if (target) {
        if (source.kind === "directory" && target.kind !== "directory") return "ENOTDIR";
        if (source.kind !== "directory" && target.kind === "directory") return "EISDIR";
        if (target.children.size > 0) return "ENOTEMPTY";
      }
      from.children.delete(name);
      to.children.set(newName, source);
    }
    source.ctime = this.#now;
    if (target) target.ctime = this.#now;
    this.#touch(from);
    this.#touch(to);
    return OK;
  }

  #setattr({ kind: _, inode, ...change }: CommandOf<"setattr">): Result {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ESTALE";
    if (change.size !== undefined) {
      if (node.kind === "directory") return "EISDIR";
      if (node.kind !== "file") return "EINVAL";
      if (change.size > FILE_BYTES_MAX) return "EFBIG";
    }
    if (Object.values(change).every((value) => value === undefined || value === false)) return OK;
    const chown = change.uid !== undefined || change.gid !== undefined;
    if (change.mode !== undefined) node.mode = change.mode;
    else if ((chown || change.killPrivileges) && node.kind !== "directory") this.#dropPrivileges(node);
    if (chown || change.killPrivileges || change.size !== undefined) node.xattrs.delete("security.capability");
    node.uid = change.uid ?? node.uid;
    node.gid = change.gid ?? node.gid;
    node.atime = this.#seconds(change.atime) ?? node.atime;
    if (change.size !== undefined) {
      for (const offset of [...node.bytes.keys()]) if (offset >= change.size) node.bytes.delete(offset);
      node.size = change.size;
      node.mtime = this.#now;
    }
    node.mtime = this.#seconds(change.mtime) ?? node.mtime;
    node.ctime = this.#seconds(change.ctime) ?? this.#now;
    return OK;
  }

  #seconds(change: TimeChange | undefined): number | undefined {
    return change === "now" ? this.#now : change?.seconds;
  }

  #dropPrivileges(node: Node): void {
    if (node.mode & 0o10) node.mode &= 0o1777;
    else node.mode &= 0o3777;
  }

  #write({ inode, extents, mtime, killPrivileges }: CommandOf<"write">): Result {
    const node = this.#file(inode);
    if (typeof node === "string") return node;
    const pieces = extents.map((extent) => ({
      offset: extent.offset,
      data: extent.kind === "inline" ? extent.data : this.slices.get(extent.slice.id)!,
    }));
    for (const { offset, data } of pieces) if (offset + data.length > FILE_BYTES_MAX) return "EFBIG";
    for (const { offset, data } of pieces) {
      data.forEach((byte, at) => {
        node.bytes.set(offset + at, byte);
      });
      node.size = Math.max(node.size, offset + data.length);
    }
    if (killPrivileges) this.#dropPrivileges(node);
    node.xattrs.delete("security.capability");
    node.mtime = this.#seconds(mtime) ?? this.#now;
    node.ctime = this.#now;
    return OK;
  }

  #fallocate({ inode, mode, offset, length }: CommandOf<"fallocate">): Result {
    const node = this.#file(inode);
    if (typeof node === "string") return node;
    if (length === 0) return "EINVAL";
    if (offset + length > FILE_BYTES_MAX) return "EFBIG";
    node.ctime = this.#now;
    if (mode === "keepSize") return OK;
    node.mtime = this.#now;
    if (mode === "allocate" || mode === "zero") node.size = Math.max(node.size, offset + length);
    if (mode === "allocate") return OK;
    node.xattrs.delete("security.capability");
    for (const at of [...node.bytes.keys()]) if (at >= offset && at < offset + length) node.bytes.delete(at);
    return OK;
  }

  #setxattr({ inode, name, value, mode }: CommandOf<"setxattr">): Result {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ESTALE";
    if (name.length === 0 || name.length > 255) return "ERANGE";
    if (mode === "create" && node.xattrs.has(name)) return "EEXIST";
    if (mode === "replace" && !node.xattrs.has(name)) return "ENODATA";
    node.xattrs.set(name, value);
    node.ctime = this.#now;
    return OK;
  }

  #removexattr({ inode, name }: CommandOf<"removexattr">): Result {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ESTALE";
    if (!node.xattrs.delete(name)) return "ENODATA";
    node.ctime = this.#now;
    return OK;
  }

  #lock({ inode, table, owner, mode, start, end }: CommandOf<"lock">, session: number): Result {
    if (start > end) return "EINVAL";
    if (!this.nodes.has(inode)) return "ESTALE";
    const range = table === "flock" ? { start: 0, end: Number.MAX_SAFE_INTEGER } : { start, end };
    return this.locks.lock(`${inode} ${table}`, `${session} ${owner}`, mode, range);
  }

  #reap({ inode, chunks, xattrs }: CommandOf<"reap">): Result {
    const node = this.nodes.get(inode);
    if (node === undefined || this.links(node) > 0) return "ENOENT";
    for (const at of [...node.bytes.keys()]) if (chunks.includes(Math.floor(at / CHUNK_BYTES))) node.bytes.delete(at);
    for (const name of xattrs) node.xattrs.delete(name);
    if (node.bytes.size > 0 || node.xattrs.size > 0) return OK;
    this.nodes.delete(inode);
    this.locks.forget((file) => file.startsWith(`${inode} `));
    return OK;
  }
}

/** Advisory locks, position by position: each holder's mode at 0, 1, … and from END on. */
export class ReferenceLocks {
  static readonly END = 12;
  readonly #held = new Map<string, Map<string, ("read" | "write" | undefined)[]>>();

  #positions(range: { start: number; end: number }): number[] {
    const end = Math.min(range.end, ReferenceLocks.END);
    return Array.from({ length: end - range.start + 1 }, (_, at) => range.start + at);
  }

  /** `file`: inode and table; `holder`: session and owner. */
  lock(file: string, holder: string, mode: "read" | "write" | "unlock", range: { start: number; end: number }): Result {
    const holders = this.#held.get(file) ?? new Map();
    this.#held.set(file, holders);
    const positions = this.#positions(range);
    for (const [other, held] of holders) {
      if (other === holder || mode === "unlock") continue;
      for (const at of positions)
        if (held[at] === "write" || (held[at] === "read" && mode === "write")) return "EAGAIN";
    }
    const own = holders.get(holder) ?? Array(ReferenceLocks.END + 1).fill(undefined);
    holders.set(holder, own);
    for (const at of positions) own[at] = mode === "unlock" ? undefined : mode;
    return OK;
  }

  forget(matches: (file: string, holder: string) => boolean): void {
    for (const [file, holders] of this.#held) {
      for (const holder of [...holders.keys()]) if (matches(file, holder)) holders.delete(holder);
    }
  }

  /** `file holder position mode`, sorted. */
  list(): string[] {
    const all: string[] = [];
    for (const [file, holders] of this.#held) {
      for (const [holder, held] of holders) {
        held.forEach((mode, at) => {
          if (mode !== undefined) all.push(`${file} ${holder} ${at} ${mode}`);
        });
      }
    }
    return all.sort();
  }
}
