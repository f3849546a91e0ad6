import type { Logger } from "pino";
import type { BlockCache } from "../blocks/block-cache.ts";
import type { ClientSession } from "../metadata/client-session.ts";
import type { MetadataReads } from "../metadata/metadata-reads.ts";
import type { Router } from "../metadata/router.ts";
import { FileReader } from "./file-reader.ts";
import { HandleTable } from "./handles.ts";
import { KernelView, type ValidMs } from "./kernel-view.ts";
import { NodeTable } from "./nodes.ts";
import type { ReadAheadBudget } from "./read-ahead.ts";
import { StaleOpens } from "./stale-opens.ts";
import { type UploadSettings, Writers } from "./writers.ts";

export interface MountStateOptions {
  readonly router: Router;
  readonly session: ClientSession;
  readonly reads: MetadataReads;
  readonly blocks: BlockCache;
  readonly uploads: UploadSettings;
  readonly dirtyBytesMax: number;
  readonly readAhead: ReadAheadBudget;
  /** How long the kernel may use a name or attributes without asking. */
  readonly validMs: ValidMs;
  /** Above so many inodes the kernel is asked to let go of some. */
  readonly inodesMax: number;
  readonly logger: Logger;
}

/** What the handlers of one mount share. */
export class MountState {
  readonly router: Router;
  readonly session: ClientSession;
  readonly reads: MetadataReads;
  readonly reader: FileReader;
  readonly nodes = new NodeTable();
  readonly handles = new HandleTable();
  readonly staleOpens = new StaleOpens();
  readonly kernel: KernelView;
  readonly writers: Writers;
  readonly readAhead: ReadAheadBudget;

  constructor(options: MountStateOptions) {
    const { router, session, reads, uploads, dirtyBytesMax, logger } = options;
    const { nodes } = this;
    this.router = router;
    this.session = session;
    this.reads = reads;
    this.readAhead = options.readAhead;
    this.reader = new FileReader(nodes, reads, options.blocks);
    this.kernel = new KernelView(nodes, router, options);
    const primaryDownForMs = () => router.primaryDownForMs;
    this.writers = new Writers({
      nodes,
      kernel: this.kernel,
      session,
      uploads,
      dirtyBytesMax,
      primaryDownForMs,
      logger,
    });
  }

  /** The session expired, and its locks with it: descriptors of locked files get EIO from now on. */
  onSessionLost(): void {
    for (const handle of this.handles.all()) {
      if (handle.kind === "file" && handle.node.lockOwners?.any) handle.broken = true;
    }
    for (const node of this.nodes.all()) node.lockOwners = undefined;
  }
}
