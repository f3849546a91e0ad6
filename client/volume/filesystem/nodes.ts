import type { Attributes } from "../../../core/commands.ts";
import {
  type ByteString,
  compareVersions,
  type Inode,
  NO_VERSION,
  ROOT_INODE,
  type Sequence,
  type Version,
} from "../../../core/ids.ts";
import type { OpenFile } from "../../../proto/generated/metadata.ts";
import type { CachedName } from "../metadata/metadata-reads.ts";
import { ChunkMap } from "./chunk-map.ts";
import type { FileWriter } from "./file-writer.ts";
import { type KernelName, KernelNames } from "./kernel-names.ts";

/** Who has taken a lock on an inode through this mount: only these need an unlock at close. */
export class LockOwners {
  /** A POSIX lock's owner, a process or an open file description, with the handle through which it last took one. */
  readonly posix = new Map<string, number>();
  readonly flock = new Set<string>();

  get any(): boolean {
    return this.posix.size + this.flock.size > 0;
  }
}

/** An inode that the kernel has looked up, or that is open here. */
export interface Node {
  readonly inode: Inode;
  /** The kernel's lookup count: entries it was given, less those it has forgotten (FORGET). */
  lookups: number;
  /** Open descriptors of this mount, as the servers count them, too. */
  handles: number;
  /** Created through this mount, and not closed since. */
  fresh: boolean;
  /** The request that registers an open at the server without delaying CREATE; a release must not overtake it. */
  registering: Promise<unknown> | undefined;
  /** The newest attributes that are known; `stale` once they are known to be outdated. */
  attributes: Attributes | undefined;
  stale: boolean;
  /** What was answered at an earlier version is outdated: the answer may be handled after the push that says so. */
  staleBefore: Version;
  /** `changed` of the attributes that the kernel has cached; undefined: none. */
  cachedAttributes: Sequence | undefined;
  /** `changed` of the content that the kernel's cached pages are of; undefined: unknown, so they are not kept. */
  cachedPages: Sequence | undefined;
  /** It was read or written through the kernel's page cache, which may still have pages of it. */
  buffered: boolean;
  readonly chunks: ChunkMap;
  writer: FileWriter | undefined;
  /** Directory entries of this inode that the kernel may have cached. */
  readonly names: KernelNames;
  /** The name under which the kernel last reached this inode; kept when it is invalidated. For log lines. */
  lastName: { readonly parent: Inode; readonly name: ByteString } | undefined;
  lockOwners: LockOwners | undefined;
}

const DEPTH_MAX = 1024;

/** The inodes and names that this mount knows: their newest attributes, and what the kernel has cached of them. */
export class NodeTable {
  readonly #nodes = new Map<Inode, Node>();
  readonly #names = new Map<string, Inode>();

  get(inode: Inode): Node | undefined {
    return this.#nodes.get(inode);
  }

  obtain(inode: Inode): Node {
    let node = this.#nodes.get(inode);
    if (node === undefined) {
      node = {
        inode,
        lookups: 0,
        handles: 0,
        fresh: false,
        registering: undefined,
        attributes: undefined,
        stale: true,
        staleBefore: NO_VERSION,
        cachedAttributes: undefined,
        cachedPages: undefined,
        buffered: false,
        chunks: new ChunkMap(),
        writer: undefined,
        names: new KernelNames(),
        lastName: undefined,
        lockOwners: undefined,
      };
      this.#nodes.set(inode, node);
    }
    return node;
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** The first `count` nodes, which come last from now on. New nodes come last, too. */
  rotate(count: number): Node[] {
    const first: Node[] = [];
    for (const node of this.#nodes.values()) {
      if (first.push(node) === count) break;
    }
    for (const node of first) {
      this.#nodes.delete(node.inode);
      this.#nodes.set(node.inode, node);
    }
    return first;
  }

  all(): Iterable<Node> {
    return this.#nodes.values();
  }

  /** Keeps attributes that were answered at a version, unless newer ones are known: answers may overtake each other. */
  learn(attributes: Attributes, at: Version): Node {
    const node = this.obtain(attributes.inode);
    if (node.attributes === undefined || attributes.changed >= node.attributes.changed) {
      node.attributes = attributes;
      if (compareVersions(at, node.staleBefore) >= 0) node.stale = false;
    }
    return node;
  }

  /** The kernel is about to cache that `name` leads to this inode. A directory has only one name. */
  name(parent: Inode, name: ByteString, inode: Inode): void {
    const key = keyOf(parent, name);
    const node = this.obtain(inode);
    if (node.attributes?.kind === "directory") {
      for (const [other] of [...node.names.entries()]) this.#drop(node, other);
    }
    const before = this.#names.get(key);
    if (before !== undefined && before !== inode) this.#nodes.get(before)?.names.delete(key);
    this.#names.set(key, inode);
    // A new object each time: an invalidation of the older entry can see that there is a newer one.
    const named = { parent, name, expired: false };
    node.names.set(key, named);
    node.lastName = named;
  }

  /** The kernel no longer has an entry of `name`. Answers the inode that it led to. */
  unname(parent: Inode, name: ByteString): Inode | undefined {
    const key = keyOf(parent, name);
    const inode = this.#names.get(key);
    if (inode === undefined) return undefined;
    this.#names.delete(key);
    this.#nodes.get(inode)?.names.delete(key);
    return inode;
  }

  /** The kernel's cached entry of a name: an object that is replaced when the kernel gets a new entry. */
  cachedName(parent: Inode, name: ByteString): KernelName | undefined {
    const inode = this.named(parent, name);
    return inode === undefined ? undefined : this.#nodes.get(inode)?.names.get(keyOf(parent, name));
  }

  named(parent: Inode, name: ByteString): Inode | undefined {
    return this.#names.get(keyOf(parent, name));
  }

  /** Every name through which the kernel may have reached the inode without a LOOKUP, from the root down. */
  cachedNames(inode: Inode): CachedName[] {
    const chain: CachedName[] = [];
    const seen = new Set<Inode>();
    let node = this.#nodes.get(inode);
    while (node !== undefined && node.inode !== ROOT_INODE && !seen.has(node.inode) && chain.length < DEPTH_MAX) {
      seen.add(node.inode);
      let parent: Inode | undefined;
      for (const { parent: directory, name, expired } of node.names.values()) {
        if (expired) continue;
        chain.push({ parent: directory, name, inode: node.inode });
        parent ??= directory;
      }
      node = parent === undefined ? undefined : this.#nodes.get(parent);
    }
    return chain.reverse();
  }

  /** The attributes that are known are outdated: a change of the inode, or of an entry of the directory, by `at`. */
  markStale(inode: Inode, at: Version): void {
    const node = this.#nodes.get(inode);
    if (node === undefined) return;
    node.stale = true;
    if (compareVersions(at, node.staleBefore) > 0) node.staleBefore = at;
  }

  openFiles(): OpenFile[] {
    const open: OpenFile[] = [];
    for (const { inode, handles } of this.#nodes.values()) if (handles > 0) open.push({ inode, handles });
    return open;
  }

  /** Path below the mount point, by the names last known here, for log lines: `/dir/file`, or `(inode N)/file`. */
  pathOf(inode: Inode): string {
    const parts: string[] = [];
    let at: Inode = inode;
    while (at !== ROOT_INODE && parts.length < DEPTH_MAX) {
      const name = this.#nodes.get(at)?.lastName;
      if (name === undefined) return [`(inode ${at})`, ...parts.reverse()].join("/");
      parts.push(Buffer.from(name.name, "latin1").toString("utf8"));
      at = name.parent;
    }
    return `/${parts.reverse().join("/")}`;
  }

  parentOf(inode: Inode): Inode {
    const node = this.#nodes.get(inode);
    for (const { parent } of node?.names.values() ?? []) return parent;
    return node?.attributes?.parent || inode;
  }

  forget(inode: Inode, count: number): void {
    const node = this.#nodes.get(inode);
    if (node === undefined) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.trim(node);
  }

  /** Drops a node that is neither known to the kernel nor open nor dirty. */
  trim(node: Node): void {
    if (node.lookups > 0 || node.handles > 0 || node.writer?.dirty || node.inode === ROOT_INODE) return;
    for (const [key] of node.names.entries()) this.#names.delete(key);
    this.#nodes.delete(node.inode);
  }

  #drop(node: Node, key: string): void {
    node.names.delete(key);
    this.#names.delete(key);
  }
}

function keyOf(parent: Inode, name: ByteString): string {
  return `${parent}/${name}`;
}
