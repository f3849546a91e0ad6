import type { InodeKind } from "../../core/commands.ts";

/**
 * A file system as one would write it down without a thought for speed: objects in objects, a file as its bytes one by
 * one, link counts by counting. Written from the manual pages, not from core, to be compared with it.
 */
export interface Node {
  id: number;
  kind: InodeKind;
  mode: number;
  uid: number;
  gid: number;
  target: string;
  size: number;
  /** Offset → byte, only where something was written. */
  bytes: Map<number, number>;
  mtime: number;
  ctime: number;
  atime: number;
  xattrs: Map<string, string>;
  children: Map<string, Node>;
}

export interface Piece {
  readonly offset: number;
  readonly data: Uint8Array;
}

type Errno = string;
const OK = "ok";
const FILE_MAX = 2 ** 44;

function badName(name: string): Errno | undefined {
  if (name.length > 255) return "ENAMETOOLONG";
  if (["", ".", ".."].includes(name) || /[/\0]/.test(name)) return "EINVAL";
  return undefined;
}

export class Reference {
  readonly root: Node;
  /** All that is not reaped, with links or without. */
  readonly nodes = new Map<number, Node>();
  now = 0;

  constructor(rootId: number) {
    this.root = this.#node("directory", { mode: 0o755, uid: 0, gid: 0, target: "" });
    this.root.id = rootId;
    this.nodes.set(rootId, this.root);
  }

  #node(kind: InodeKind, from: { mode: number; uid: number; gid: number; target: string }): Node {
    const times = { mtime: this.now, ctime: this.now, atime: this.now };
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

  #directory(id: number): Node | Errno {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (node.kind !== "directory") return "ENOTDIR";
    return this.links(node) === 0 ? "ENOENT" : node;
  }

  #file(id: number): Node | Errno {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (node.kind === "directory") return "EISDIR";
    return node.kind === "file" ? node : "EINVAL";
  }

  #touch(directory: Node): void {
    directory.mtime = this.now;
    directory.ctime = this.now;
  }

  /** `id`: what core called it, when core made it. */
  make(
    parentId: number,
    name: string,
    kind: InodeKind,
    from: { mode: number; uid: number; gid: number; target: string },
    id: number | undefined,
  ): Errno {
    const parent = this.#directory(parentId);
    if (typeof parent === "string") return parent;
    if (kind === "symlink" && from.target === "") return "ENOENT";
    const bad = badName(name);
    if (bad) return bad;
    if (parent.children.has(name)) return "EEXIST";
    const node = this.#node(kind, from);
    if (parent.mode & 0o2000) {
      node.gid = parent.gid;
      if (kind === "directory") node.mode |= 0o2000;
    }
    node.id = id ?? -1;
    this.nodes.set(node.id, node);
    parent.children.set(name, node);
    this.#touch(parent);
    return OK;
  }

  link(id: number, parentId: number, name: string): Errno {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    const parent = this.#directory(parentId);
    if (typeof parent === "string") return parent;
    const bad = badName(name);
    if (bad) return bad;
    if (parent.children.has(name)) return "EEXIST";
    if (node.kind === "directory") return "EPERM";
    if (this.links(node) === 0) return "ENOENT";
    parent.children.set(name, node);
    node.ctime = this.now;
    this.#touch(parent);
    return OK;
  }

  remove(parentId: number, name: string, wantDirectory: boolean): Errno {
    const parent = this.#directory(parentId);
    if (typeof parent === "string") return parent;
    const bad = badName(name);
    if (bad) return bad;
    const node = parent.children.get(name);
    if (node === undefined) return "ENOENT";
    if (wantDirectory && node.kind !== "directory") return "ENOTDIR";
    if (!wantDirectory && node.kind === "directory") return "EISDIR";
    if (node.children.size > 0) return "ENOTEMPTY";
    parent.children.delete(name);
    node.ctime = this.now;
    this.#touch(parent);
    return OK;
  }

  #holds(directory: Node, wanted: Node): boolean {
    if (directory === wanted) return true;
    return [...directory.children.values()].some((child) => this.#holds(child, wanted));
  }

  rename(
    fromId: number,
    name: string,
    toId: number,
    newName: string,
    mode: "replace" | "noreplace" | "exchange",
  ): Errno {
    const from = this.#directory(fromId);
    if (typeof from === "string") return from;
    const badFrom = badName(name);
    if (badFrom) return badFrom;
    const to = this.#directory(toId);
    if (typeof to === "string") return to;
    const badTo = badName(newName);
    if (badTo) return badTo;
    const moved = from.children.get(name);
    const there = to.children.get(newName);
    if (moved === undefined) return "ENOENT";
    if (mode === "noreplace" && there) return "EEXIST";
    if (moved.kind === "directory" && this.#holds(moved, to)) return "EINVAL";
    if (mode === "exchange") {
      if (there === undefined) return "ENOENT";
      if (there.kind === "directory" && this.#holds(there, from)) return "EINVAL";
      if (there === moved) return OK;
      from.children.set(name, there);
      to.children.set(newName, moved);
    } else {
      if (there === moved) return OK;
      if (there) {
        if (moved.kind === "directory" && there.kind !== "directory") return "ENOTDIR";
        if (moved.kind !== "directory" && there.kind === "directory") return "EISDIR";
        if (there.children.size > 0) return "ENOTEMPTY";
      }
      from.children.delete(name);
      to.children.set(newName, moved);
    }
    moved.ctime = this.now;
    if (there) there.ctime = this.now;
    this.#touch(from);
    this.#touch(to);
    return OK;
  }

  setattr(
    id: number,
    change: {
      mode?: number;
      uid?: number;
      gid?: number;
      size?: number;
      atime?: number;
      mtime?: number;
      killPrivileges?: boolean;
    },
  ): Errno {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (change.size !== undefined) {
      if (node.kind === "directory") return "EISDIR";
      if (node.kind !== "file") return "EINVAL";
      if (change.size > FILE_MAX) return "EFBIG";
    }
    if (Object.values(change).every((value) => value === undefined || value === false)) return OK;
    const chown = change.uid !== undefined || change.gid !== undefined;
    if (change.mode !== undefined) node.mode = change.mode;
    else if ((chown || change.killPrivileges) && node.kind !== "directory") this.#dropPrivileges(node);
    if (chown || change.killPrivileges || change.size !== undefined) node.xattrs.delete("security.capability");
    node.uid = change.uid ?? node.uid;
    node.gid = change.gid ?? node.gid;
    node.atime = change.atime ?? node.atime;
    if (change.size !== undefined) {
      for (const offset of [...node.bytes.keys()]) if (offset >= change.size) node.bytes.delete(offset);
      node.size = change.size;
      node.mtime = this.now;
    }
    node.mtime = change.mtime ?? node.mtime;
    node.ctime = this.now;
    return OK;
  }

  #dropPrivileges(node: Node): void {
    if (node.mode & 0o10) node.mode &= 0o1777;
    else node.mode &= 0o3777;
  }

  write(id: number, pieces: readonly Piece[], killPrivileges: boolean): Errno {
    const node = this.#file(id);
    if (typeof node === "string") return node;
    for (const { offset, data } of pieces) if (offset + data.length > FILE_MAX) return "EFBIG";
    for (const { offset, data } of pieces) {
      data.forEach((byte, at) => {
        node.bytes.set(offset + at, byte);
      });
      node.size = Math.max(node.size, offset + data.length);
    }
    if (killPrivileges) this.#dropPrivileges(node);
    node.xattrs.delete("security.capability");
    this.#touch(node);
    return OK;
  }

  fallocate(id: number, mode: "allocate" | "keepSize" | "punch" | "zero", offset: number, length: number): Errno {
    const node = this.#file(id);
    if (typeof node === "string") return node;
    if (length === 0) return "EINVAL";
    if (offset + length > FILE_MAX) return "EFBIG";
    node.ctime = this.now;
    if (mode === "keepSize") return OK;
    node.mtime = this.now;
    if (mode === "allocate" || mode === "zero") node.size = Math.max(node.size, offset + length);
    if (mode === "allocate") return OK;
    node.xattrs.delete("security.capability");
    for (const at of [...node.bytes.keys()]) if (at >= offset && at < offset + length) node.bytes.delete(at);
    return OK;
  }

  setxattr(id: number, name: string, value: string, mode: "either" | "create" | "replace"): Errno {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (name.length === 0 || name.length > 255) return "ERANGE";
    if (mode === "create" && node.xattrs.has(name)) return "EEXIST";
    if (mode === "replace" && !node.xattrs.has(name)) return "ENODATA";
    node.xattrs.set(name, value);
    node.ctime = this.now;
    return OK;
  }

  removexattr(id: number, name: string): Errno {
    const node = this.nodes.get(id);
    if (node === undefined) return "ESTALE";
    if (!node.xattrs.delete(name)) return "ENODATA";
    node.ctime = this.now;
    return OK;
  }
}

/** Advisory locks, position by position: who holds what at 0, 1, … and from END on. */
export class ReferenceLocks {
  static readonly END = 12;
  readonly #held = new Map<string, Map<string, ("read" | "write" | undefined)[]>>();

  #positions(range: { start: number; end: number }): number[] {
    const end = Math.min(range.end, ReferenceLocks.END);
    return Array.from({ length: end - range.start + 1 }, (_, at) => range.start + at);
  }

  /** `where`: inode and table; `holder`: session and owner. */
  lock(where: string, holder: string, mode: "read" | "write" | "unlock", range: { start: number; end: number }): Errno {
    if (range.start > range.end) return "EINVAL";
    const holders = this.#held.get(where) ?? new Map();
    this.#held.set(where, holders);
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

  forget(matches: (where: string, holder: string) => boolean): void {
    for (const [where, holders] of this.#held) {
      for (const holder of [...holders.keys()]) if (matches(where, holder)) holders.delete(holder);
    }
  }

  /** `where holder position mode`, sorted. */
  list(): string[] {
    const all: string[] = [];
    for (const [where, holders] of this.#held) {
      for (const [holder, held] of holders) {
        held.forEach((mode, at) => {
          if (mode !== undefined) all.push(`${where} ${holder} ${at} ${mode}`);
        });
      }
    }
    return all.sort();
  }
}
