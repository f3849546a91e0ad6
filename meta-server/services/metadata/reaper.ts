import type { ByteString, Inode } from "../../../core/ids.ts";
import { chunksPrefix, KEY_PREFIX, keyChunk, keyId, keyName, xattrKey } from "../../../core/keys.ts";
import type { ServerContext } from "../../region/context.ts";

const ROUND_MS = 200;
const CHUNKS_PER_STEP = 256;
const XATTRS_PER_STEP = 256;
const AT_ONCE = 64;
/** An inode is kept this long after its last link: a client that has just looked it up may be about to open it. */
const GRACE_MS = 2_000;

/**
 * Removes inodes that have no links and are not open in any region. The leader finds their keys, and the commands name them.
 */
export class Reaper {
  readonly #context: ServerContext;
  readonly #isOpenAnywhere: (inode: Inode, since: number) => boolean;
  /** Inodes without links, with the performance.now() at which this server learned of each. */
  readonly #orphans = new Map<Inode, number>();
  readonly #timer: NodeJS.Timeout;
  #running = false;
  /** Counts the searches: only the last one that was begun can complete. */
  #searches = 0;
  /** Whether `#orphans` holds every inode without links. */
  #isComplete = false;

  constructor(context: ServerContext, isOpenAnywhere: (inode: Inode, since: number) => boolean) {
    this.#context = context;
    this.#isOpenAnywhere = isOpenAnywhere;
    this.#timer = setInterval(() => void this.#round(), ROUND_MS);
    this.#timer.unref();
    context.machine.onTurn((turn) => {
      if (turn.flipped) this.#isComplete = false;
      for (const { orphaned } of turn.effects)
        for (const inode of orphaned) this.#orphans.set(inode, performance.now());
    });
  }

  /** The inodes without links; undefined until a leader has read them from its state. */
  get orphans(): Iterable<Inode> | undefined {
    return this.#isComplete ? this.#orphans.keys() : undefined;
  }

  /** Reads the inodes that lost their last link before this server led, or in a state that a snapshot has brought. */
  async findOrphans(): Promise<void> {
    this.#searches += 1;
    const search = this.#searches;
    this.#isComplete = false;
    for await (const page of this.#context.machine.view.pages(KEY_PREFIX.orphan)) {
      for (const [key] of page) this.#orphans.set(keyId(key) as Inode, performance.now());
    }
    if (search === this.#searches) this.#isComplete = true;
  }

  async #round(): Promise<void> {
    const { machine, logger } = this.#context;
    if (this.#running || this.#orphans.size === 0) return;
    this.#running = true;
    try {
      const due: Inode[] = [];
      const graceEndMs = performance.now() - GRACE_MS;
      for (const [inode, sinceMs] of this.#orphans) {
        if (sinceMs > graceEndMs) continue;
        const since = machine.tree.orphan(inode);
        if (since === undefined) this.#orphans.delete(inode);
        else if (this.#context.isServing() && !this.#isOpenAnywhere(inode, since)) due.push(inode);
      }
      for (let at = 0; at < due.length && this.#context.isServing(); at += AT_ONCE) {
        await Promise.all(due.slice(at, at + AT_ONCE).map((inode) => this.#reap(inode)));
      }
    } catch (error) {
      logger.error(error, "inodes without links could not be removed; it is retried");
    } finally {
      this.#running = false;
    }
  }

  async #reap(inode: Inode): Promise<void> {
    const { machine, proposer } = this.#context;
    while (machine.tree.orphan(inode) !== undefined) {
      const chunks = await machine.view.range(chunksPrefix(inode), undefined, CHUNKS_PER_STEP);
      const xattrs = await machine.view.range(xattrKey(inode, "" as ByteString), undefined, XATTRS_PER_STEP);
      const applied = await proposer.internal({
        kind: "reap",
        inode,
        chunks: chunks.map(([key]) => keyChunk(key)),
        xattrs: xattrs.map(([key]) => keyName(key)),
      });
      if (applied === undefined || !applied.taken || !applied.outcome.ok) return;
    }
    this.#orphans.delete(inode);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
