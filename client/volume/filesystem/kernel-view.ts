import type { Attributes } from "../../../core/commands.ts";
import type { ByteString, Inode, Version } from "../../../core/ids.ts";
import type { Invalidation } from "../../../proto/generated/metadata.ts";
import type { AttributesReply, EntryReply, KernelCaches } from "../handlers.ts";
import { attributesOf, type Done } from "../metadata/client-session.ts";
import type { Router } from "../metadata/router.ts";
import { NodeBound } from "./node-bound.ts";
import type { Node, NodeTable } from "./nodes.ts";

export interface ValidMs {
  readonly names: number;
  readonly attributes: { readonly primary: number; readonly mirror: number };
}

const NOT_MOUNTED: KernelCaches = {
  invalidateInode: () => Promise.resolve(),
  invalidatePages: () => Promise.resolve(),
  invalidateEntry: () => Promise.resolve(),
  expireEntry: () => Promise.resolve(),
  canPrune: false,
  prune: () => Promise.resolve(),
};

/**
 * What the kernel has cached of this mount: attributes, directory entries and pages. Makes the replies that fill the
 * first two, and sends all notifications that invalidate them.
 */
export class KernelView {
  /** Set once the volume is mounted; before that there is nothing to invalidate. */
  caches: KernelCaches = NOT_MOUNTED;
  readonly #nodes: NodeTable;
  readonly #router: Router;
  readonly #validMs: ValidMs;
  readonly #bound: NodeBound;

  constructor(
    nodes: NodeTable,
    router: Router,
    { validMs, inodesMax }: { readonly validMs: ValidMs; readonly inodesMax: number },
  ) {
    this.#nodes = nodes;
    this.#router = router;
    this.#validMs = validMs;
    this.#bound = new NodeBound(nodes, inodesMax, (idle) => this.#letGo(idle));
  }

  /** Attributes that were answered at a version, for the kernel, which caches them for `validMs`. */
  attributesReply(attributes: Attributes, at: Version): AttributesReply {
    const node = this.#nodes.learn(attributes, at);
    const newest = node.attributes ?? attributes;
    node.cachedAttributes = newest.changed;
    return {
      attributes: node.writer?.dirty ? node.writer.show(newest) : newest,
      validMs: node.stale ? 0 : this.#attributesValidMs(),
    };
  }

  /** A directory entry for the kernel, which counts one lookup of the inode; a FORGET takes it back. */
  entryReply(parent: Inode, name: ByteString, attributes: Attributes, at: Version): EntryReply {
    const reply = this.attributesReply(attributes, at);
    this.#nodes.name(parent, name, attributes.inode);
    this.#nodes.obtain(attributes.inode).lookups += 1;
    this.#bound.check();
    return { ...reply, entryValidMs: this.#router.watched ? this.#validMs.names : 0 };
  }

  /** Prepares the kernel's caches for an OPEN. Answers whether the pages it has are still valid (FOPEN_KEEP_CACHE). */
  async opening(node: Node): Promise<boolean> {
    const { changed } = node.attributes!;
    if (node.cachedAttributes !== undefined && node.cachedAttributes !== changed) {
      // The kernel never reads past the size that it has cached.
      await this.caches.invalidateInode(node.inode, false);
      node.cachedAttributes = undefined;
    }
    const keepCache = node.cachedPages === changed;
    node.cachedPages = changed;
    return keepCache;
  }

  /**
   * Learns the attributes that a change through this mount left. What the kernel has cached stays valid only if no
   * change of another mount can have come in between: that is certain only while the primary's own pushes arrive here.
   */
  noteOwnChange(done: Done): Attributes {
    const attributes = attributesOf(done);
    const before = this.#nodes.get(attributes.inode);
    const staysValid = this.#router.ownIsPrimary && this.#router.watched && before?.stale === false;
    const { cachedPages, cachedAttributes } = before ?? {};
    const known = before?.attributes?.changed;
    const node = this.#nodes.learn(attributes, done.version);
    const keepsPages = staysValid && cachedPages !== undefined && cachedPages === known;
    node.cachedPages = keepsPages ? attributes.changed : undefined;
    if (staysValid && cachedAttributes === known) node.cachedAttributes = attributes.changed;
    return attributes;
  }

  /** Invalidates what other mounts changed by a version, as pushed by the metadata server. */
  invalidate(invalidations: readonly Invalidation[], at: Version): void {
    for (const { inode, parent, name, content } of invalidations) {
      if (parent !== 0) {
        this.#nodes.markStale(parent as Inode, at);
        void this.invalidateEntry(parent as Inode, name.toString("latin1") as ByteString);
        continue;
      }
      const node = this.#nodes.get(inode as Inode);
      if (node === undefined) continue;
      this.#nodes.markStale(node.inode, at);
      if (content) node.chunks.clear();
      void this.#invalidateInode(node, content);
    }
  }

  /**
   * Invalidates everything, here and in the kernel: pushes may have been missed, or history has changed (a fork). Names
   * only expire: most are still right, and to drop one takes the working directory of the processes that are in it.
   */
  invalidateAll(): void {
    for (const node of this.#nodes.all()) {
      node.stale = true;
      node.attributes = undefined;
      node.chunks.clear();
      for (const { parent, name } of node.names.values()) void this.#expireEntry(parent, name);
      if (node.cachedPages !== undefined || node.cachedAttributes !== undefined) void this.#invalidateInode(node, true);
    }
  }

  /**
   * The kernel drops a directory entry. Until it has, an open may still arrive through that name, so the name stays
   * among those that an open checks.
   */
  async invalidateEntry(parent: Inode, name: ByteString): Promise<void> {
    const cached = this.#nodes.cachedName(parent, name);
    if (cached === undefined) return;
    await this.caches.invalidateEntry(parent, name);
    if (this.#nodes.cachedName(parent, name) === cached) this.#nodes.unname(parent, name);
  }

  /** The kernel asks for a name before it uses it again. As in `invalidateEntry`, opens check the name until then. */
  async #expireEntry(parent: Inode, name: ByteString): Promise<void> {
    const cached = this.#nodes.cachedName(parent, name);
    if (cached === undefined || cached.expired) return;
    await this.caches.expireEntry(parent, name);
    cached.expired = true;
  }

  /** The kernel drops a file's pages: they hold other bytes than the file. */
  invalidatePages(node: Node): Promise<void> {
    node.cachedPages = undefined;
    return this.caches.invalidateInode(node.inode, true);
  }

  /**
   * Asks the kernel to let go of inodes that nothing uses there. Where it cannot be asked, it drops their names. Not those of
   * directories: a dropped name takes the working directory of the processes that are in it.
   */
  async #letGo(idle: readonly Node[]): Promise<void> {
    if (this.caches.canPrune) return this.caches.prune(idle.map(({ inode }) => inode));
    const files = idle.filter(({ attributes }) => attributes !== undefined && attributes.kind !== "directory");
    const names = files.flatMap((node) => [...node.names.values()]);
    await Promise.all(names.map(({ parent, name }) => this.invalidateEntry(parent, name)));
  }

  /** The kernel drops a file's attributes: it does not know that they have changed. */
  invalidateAttributes(node: Node): Promise<void> {
    return this.#invalidateInode(node, false);
  }

  async #invalidateInode(node: Node, content: boolean): Promise<void> {
    const { cachedAttributes } = node;
    if (content) node.cachedPages = undefined;
    await this.caches.invalidateInode(node.inode, content);
    // Only after the notification: an open in the meantime must still see that the kernel's attributes are outdated.
    if (node.cachedAttributes === cachedAttributes) node.cachedAttributes = undefined;
  }

  #attributesValidMs(): number {
    // Without the pushes nothing would invalidate them.
    if (!this.#router.watched) return 0;
    const { primary, mirror } = this.#validMs.attributes;
    return this.#router.ownIsPrimary ? primary : mirror;
  }
}
