import type { Logger } from "pino";
import type { Attributes } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { type ByteString, type Inode, ROOT_INODE, type Time } from "../../../core/ids.ts";
import type { Invalidation, OpenFile } from "../../../proto/generated/metadata.ts";
import type { BlockCache } from "../blocks/block-cache.ts";
import type { AttributesReply, EntryReply, KernelCaches } from "../handlers.ts";
import { attributesOf, type ClientSession, type Done } from "../metadata/client-session.ts";
import type { MetadataReads } from "../metadata/metadata-reads.ts";
import type { Router } from "../metadata/router.ts";
import { FileReader } from "./file-reader.ts";
import { FileWriter, type WriterEnvironment } from "./file-writer.ts";
import { HandleTable } from "./handles.ts";
import { type Node, NodeTable } from "./nodes.ts";
import { StaleOpens } from "./stale-opens.ts";
import { WriteBudget } from "./write-budget.ts";

export interface ValidMs {
  readonly names: number;
  readonly attributes: { readonly primary: number; readonly mirror: number };
}

export interface MountStateOptions {
  readonly router: Router;
  readonly session: ClientSession;
  readonly reads: MetadataReads;
  readonly blocks: BlockCache;
  /** What writers need beyond this state. */
  readonly uploads: Omit<WriterEnvironment, "mutate" | "now" | "onCommitted" | "onFailed" | "onIdle" | "onDirty">;
  readonly dirtyBytesMax: number;
  readonly readAheadBytes: number;
  /** How long the kernel may use a name or attributes unasked. */
  readonly validMs: ValidMs;
  readonly logger: Logger;
}

const NO_CACHES: KernelCaches = {
  invalidateInode: () => Promise.resolve(),
  invalidateEntry: () => Promise.resolve(),
};
const IDLE_TICK_MS = 1000;
/** Dirty bytes older than this are committed without an fsync. */
const DIRTY_AGE_MS = 5000;

/** What all handlers share: what the kernel knows, what is open, what is dirty, and how each of them changes. */
export class MountState {
  readonly router: Router;
  readonly session: ClientSession;
  readonly reads: MetadataReads;
  readonly reader: FileReader;
  readonly nodes = new NodeTable();
  readonly handles = new HandleTable();
  readonly staleOpens = new StaleOpens();
  readonly budget: WriteBudget;
  readonly readAheadBytes: number;
  readonly logger: Logger;
  caches: KernelCaches = NO_CACHES;
  readonly #validMs: ValidMs;
  readonly #writers = new Set<FileWriter>();
  readonly #environment: WriterEnvironment;
  readonly #ticker: NodeJS.Timeout;

  constructor(options: MountStateOptions) {
    this.router = options.router;
    this.session = options.session;
    this.reads = options.reads;
    this.logger = options.logger;
    this.readAheadBytes = options.readAheadBytes;
    this.reader = new FileReader(this.nodes, options.reads, options.blocks);
    this.budget = new WriteBudget(options.dirtyBytesMax, () => this.#relieve());
    this.#validMs = options.validMs;
    this.#environment = {
      ...options.uploads,
      mutate: (source) => this.session.mutate(source),
      now,
      onCommitted: (_, done) => this.changedHere(done),
      onIdle: (inode) => this.#retire(inode),
      onFailed: (inode, error) => this.#onWriteFailed(inode, error),
      onDirty: (bytes) => (bytes > 0 ? this.budget.take(bytes) : this.budget.give(-bytes)),
    };
    this.#ticker = setInterval(() => this.#commitOld(), IDLE_TICK_MS);
  }

  /** Ends the background work; what is dirty is committed first. */
  async close(): Promise<void> {
    clearInterval(this.#ticker);
    await this.commitAll();
  }

  writerOf(node: Node): FileWriter {
    node.writer ??= new FileWriter(node.inode, this.#environment);
    this.#writers.add(node.writer);
    return node.writer;
  }

  async commitAll(): Promise<void> {
    await Promise.all([...this.#writers].map((writer) => writer.commit()));
  }

  /** Attributes for the kernel, which will believe them for a while. */
  tell(attributes: Attributes): AttributesReply {
    const node = this.nodes.learn(attributes);
    const newest = node.attributes ?? attributes;
    node.told = newest.changed;
    return { attributes: node.writer?.dirty ? node.writer.overAttributes(newest) : newest, validMs: this.#valid() };
  }

  /** An entry for the kernel, which holds one more reference to the inode by it. */
  tellEntry(parent: Inode, name: ByteString, attributes: Attributes): EntryReply {
    const reply = this.tell(attributes);
    this.nodes.name(parent, name, attributes.inode);
    this.nodes.obtain(attributes.inode).lookups += 1;
    return { ...reply, entryValidMs: this.router.watched ? this.#validMs.names : 0 };
  }

  /** This mount changed an inode. Its own pages are right then; whether others' changes came between, a push tells in order
   * only where the primary itself is watched. */
  changedHere(done: Done): Attributes {
    const attributes = attributesOf(done);
    const before = this.nodes.get(attributes.inode);
    const carryOn = this.router.ownIsPrimary && this.router.watched && before?.stale === false;
    const { pages, told } = before ?? {};
    const known = before?.attributes?.changed;
    const node = this.nodes.learn(attributes);
    node.pages = carryOn && pages !== undefined && pages === known ? attributes.changed : undefined;
    if (carryOn && told === known) node.told = attributes.changed;
    return attributes;
  }

  /** A directory's own times changed with one of its entries. */
  touched(inode: Inode): void {
    const node = this.nodes.get(inode);
    if (node !== undefined) node.stale = true;
  }

  onInvalidations(invalidations: readonly Invalidation[]): void {
    for (const { inode, parent, name, content } of invalidations) {
      if (parent !== 0) {
        this.touched(parent as Inode);
        void this.disbelieve(parent as Inode, name.toString("latin1") as ByteString);
      } else this.#dropInode(inode as Inode, content);
    }
  }

  /** Nothing that was read before is believed any more, here or in the kernel. */
  dropAll(): void {
    for (const node of this.nodes.all()) {
      node.stale = true;
      node.attributes = undefined;
      node.chunks.clear();
      for (const { parent, name } of node.names.values()) void this.disbelieve(parent, name);
      if (node.pages !== undefined || node.told !== undefined) void this.#dropFromKernel(node, true);
    }
  }

  /**
   * The name may lead elsewhere by now: the kernel drops it. Until it has, an open may still come by it, so that the belief
   * goes on being checked.
   */
  async disbelieve(parent: Inode, name: ByteString): Promise<void> {
    const belief = this.nodes.belief(parent, name);
    if (belief === undefined) return;
    await this.caches.invalidateEntry(parent, name);
    if (this.nodes.belief(parent, name) === belief) this.nodes.unname(parent, name);
  }

  /** The session ended without us: its locks are gone, and who relies on one is told so. */
  onSessionLost(): void {
    for (const handle of this.handles.all()) {
      const { posixOwners, flockOwners } = handle.node;
      if (handle.kind === "file" && posixOwners.size + flockOwners.size > 0) handle.broken = true;
    }
    for (const node of this.nodes.all()) {
      node.posixOwners.clear();
      node.flockOwners.clear();
    }
  }

  openFiles(): OpenFile[] {
    const open: OpenFile[] = [];
    for (const node of this.nodes.all()) if (node.handles > 0) open.push({ inode: node.inode, handles: node.handles });
    return open;
  }

  #valid(): number {
    // Without the pushes nothing would end what the kernel believes.
    if (!this.router.watched) return 0;
    const { primary, mirror } = this.#validMs.attributes;
    return this.router.ownIsPrimary ? primary : mirror;
  }

  #dropInode(inode: Inode, content: boolean): void {
    const node = this.nodes.get(inode);
    if (node === undefined) return;
    node.stale = true;
    if (content) node.chunks.clear();
    void this.#dropFromKernel(node, content);
  }

  async #dropFromKernel(node: Node, content: boolean): Promise<void> {
    const { told } = node;
    if (content) node.pages = undefined;
    await this.caches.invalidateInode(node.inode, content);
    // Only now, so that an open meanwhile still sees that the kernel was told something else.
    if (node.told === told) node.told = undefined;
  }

  #onWriteFailed(inode: Inode, error: ErrnoCode): void {
    this.logger.error(
      { inode, error },
      "what was written could not be stored: the next fsync or close of the file says so",
    );
    const node = this.nodes.get(inode);
    if (node === undefined) return;
    // The kernel's pages hold bytes that the volume does not.
    node.stale = true;
    node.pages = undefined;
    node.chunks.clear();
    void this.caches.invalidateInode(inode, true);
  }

  #retire(inode: Inode): void {
    const node = this.nodes.get(inode);
    if (node?.writer === undefined || node.writer.dirty) return;
    this.#writers.delete(node.writer);
    if (node.handles === 0 && inode !== ROOT_INODE) this.nodes.trim(node);
  }

  /** Frees memory. A file that is being committed is left alone: cut in small pieces it would be stored as small objects. */
  #relieve(): void {
    for (const writer of this.#writers) if (!writer.committing) void writer.commit();
  }

  #commitOld(): void {
    const old = performance.now() - DIRTY_AGE_MS;
    for (const writer of this.#writers) if (writer.dirtySinceMs < old) void writer.commit();
  }
}

/** The wall clock, to the microsecond. */
export function now(): Time {
  const ms = performance.timeOrigin + performance.now();
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanoseconds: Math.floor((ms - seconds * 1000) * 1000) * 1000 };
}
