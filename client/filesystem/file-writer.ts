import type { Attributes, Command, Extent } from "../../core/commands.ts";
import type { ErrnoCode } from "../../core/errno.ts";
import { INLINE_BYTES_MAX, type Inode, type Time } from "../../core/ids.ts";
import type { CommandSource, Done } from "../metadata/session.ts";
import { type DirtyRun, joinRuns, writeIntoRuns } from "./dirty-run.ts";
import { SliceUpload, type UploadEnvironment } from "./slice-upload.ts";

export interface WriterEnvironment extends UploadEnvironment {
  mutate(source: CommandSource): Promise<Done | ErrnoCode>;
  /** The ids at hand were refused. */
  dropGrants(): void;
  now(): Time;
  /** Called in the turn in which the bytes leave the writer: from then on they are read from the volume. */
  onCommitted(inode: Inode, done: Done): void;
  onFailed(inode: Inode, error: ErrnoCode): void;
  /** Dirty bytes came or went. */
  onDirty(bytes: number): void;
}

interface Batch {
  readonly runs: DirtyRun[];
  readonly mtime: Time;
  readonly killPrivileges: boolean;
}

/** More runs than this make every write slower than a commit in the background. */
const RUNS_MAX = 256;
const EXTENTS_MAX = 64;
const REFUSED_MAX = 3;

/**
 * What was written to one file and is not yet committed. Writes go into runs; a commit takes the runs there are as a
 * batch, and batches are committed one after the other, while the blocks of all of them are stored at the same time.
 */
export class FileWriter {
  readonly #inode: Inode;
  readonly #environment: WriterEnvironment;
  #runs: DirtyRun[] = [];
  #batches: Batch[] = [];
  readonly #uploads = new Map<DirtyRun, SliceUpload>();
  #tail: Promise<void> = Promise.resolve();
  #mtime: Time | undefined;
  #killPrivileges = false;
  #dirtySinceMs = 0;
  #errors = 0;
  #error: ErrnoCode | undefined;
  #commits = 0;

  constructor(inode: Inode, environment: WriterEnvironment) {
    this.#inode = inode;
    this.#environment = environment;
  }

  get dirty(): boolean {
    return this.#runs.length > 0 || this.#batches.length > 0;
  }

  /** When the oldest byte that no commit has taken yet was written (performance.now); Infinity when there is none. */
  get dirtySinceMs(): number {
    return this.#runs.length > 0 ? this.#dirtySinceMs : Number.POSITIVE_INFINITY;
  }

  /** A commit is under way: its memory will be free. */
  get committing(): boolean {
    return this.#batches.length > 0;
  }

  /** Where the last dirty byte ends. */
  get end(): number {
    let end = 0;
    for (const run of this.#all()) end = Math.max(end, run.end);
    return end;
  }

  /** When the application wrote last, of what is dirty. */
  get mtime(): Time | undefined {
    return this.#runs.length > 0 ? this.#mtime : this.#batches.at(-1)?.mtime;
  }

  /** How many failures there have been: who remembers a smaller number has not been told the last error. */
  get errors(): number {
    return this.#errors;
  }

  get error(): ErrnoCode | undefined {
    return this.#error;
  }

  /** Grows when bytes leave the writer: a read that began before must look again. */
  get commits(): number {
    return this.#commits;
  }

  write(offset: number, data: Uint8Array, killPrivileges: boolean): void {
    if (data.length === 0) return;
    if (this.#runs.length === 0) this.#dirtySinceMs = performance.now();
    this.#environment.onDirty(writeIntoRuns(this.#runs, offset, data));
    this.#mtime = this.#environment.now();
    this.#killPrivileges ||= killPrivileges;
    this.#storeFullBlocks();
    if (this.#runs.length > RUNS_MAX || this.#runs.at(-1)!.chunkIsFull) void this.commit();
  }

  /** utimens(2) after a write: the write's own time must not come after it. Waits for commits that bear another. */
  async setMtime(time: Time): Promise<void> {
    this.#mtime = time;
    await this.#tail;
  }

  /** Resolves when all that is dirty now is committed or has failed (`errors`). */
  commit(): Promise<void> {
    if (this.#runs.length === 0) return this.#tail;
    const batch: Batch = {
      runs: this.#joined(this.#runs),
      mtime: this.#mtime ?? this.#environment.now(),
      killPrivileges: this.#killPrivileges,
    };
    this.#runs = [];
    this.#killPrivileges = false;
    this.#batches.push(batch);
    for (const run of batch.runs) if (!fitsInline(run)) this.#uploadOf(run).begin(run.blockCount);
    this.#tail = this.#tail.then(() => this.#commitBatch(batch));
    return this.#tail;
  }

  /** Lays the dirty bytes of the file's range over `target`. */
  overlay(target: Uint8Array, offset: number): void {
    for (const run of this.#all()) run.overlay(target, offset);
  }

  touches(offset: number, length: number): boolean {
    for (const run of this.#all()) if (run.overlaps(offset, length)) return true;
    return false;
  }

  /** True when nothing of the range is left to read from the volume. */
  covers(offset: number, length: number): boolean {
    for (const run of this.#all()) if (run.offset <= offset && run.end >= offset + length) return true;
    return false;
  }

  *#all(): Iterable<DirtyRun> {
    for (const batch of this.#batches) yield* batch.runs;
    yield* this.#runs;
  }

  #storeFullBlocks(): void {
    for (const run of this.#runs) {
      if (run.fullBlocks > run.frozenBlocks) this.#uploadOf(run).begin(run.fullBlocks);
    }
  }

  #uploadOf(run: DirtyRun): SliceUpload {
    let upload = this.#uploads.get(run);
    if (upload === undefined) {
      upload = new SliceUpload(run, this.#environment);
      this.#uploads.set(run, upload);
    }
    return upload;
  }

  /** Joins neighbours among the runs that nothing is stored of, without changing the order of the others. */
  #joined(runs: readonly DirtyRun[]): DirtyRun[] {
    const result: DirtyRun[] = [];
    let loose: DirtyRun[] = [];
    for (const run of runs) {
      if (!this.#uploads.has(run)) {
        loose.push(run);
        continue;
      }
      result.push(...joinRuns(loose), run);
      loose = [];
    }
    result.push(...joinRuns(loose));
    const before = runs.reduce((sum, run) => sum + run.length, 0);
    const after = result.reduce((sum, run) => sum + run.length, 0);
    if (after !== before) this.#environment.onDirty(after - before);
    return result;
  }

  async #commitBatch(batch: Batch): Promise<void> {
    while (batch.runs.length > 0) {
      const next = batch.runs.slice(0, EXTENTS_MAX);
      // A bug on the way must fail this commit, not stop all that follow.
      const done = await this.#commitRuns(next, batch).catch((): ErrnoCode => "EIO");
      if (typeof done === "string") this.#fail(done);
      // In one turn: the volume answers for these bytes, and they leave. What follows a failure is lost with it.
      const runs = batch.runs.splice(0, typeof done === "string" ? batch.runs.length : next.length);
      this.#commits += 1;
      if (batch.runs.length === 0) this.#batches = this.#batches.filter((other) => other !== batch);
      if (typeof done === "string") this.#environment.onFailed(this.#inode, done);
      else this.#environment.onCommitted(this.#inode, done);
      for (const run of runs) this.#drop(run);
    }
  }

  async #commitRuns(runs: readonly DirtyRun[], batch: Batch): Promise<Done | ErrnoCode> {
    let inline = true;
    for (let refused = 0; ; ) {
      const done = await this.#environment.mutate(() => this.#command(runs, batch, inline));
      if (done === "EOVERFLOW" && inline) inline = false;
      else if ((done === "ESTALE" || done === "EEXIST") && refused++ < REFUSED_MAX && this.#anyUpload(runs)) {
        this.#environment.dropGrants();
        for (const run of runs) this.#uploads.get(run)?.forget();
      } else return done;
    }
  }

  async #command(runs: readonly DirtyRun[], batch: Batch, inline: boolean): Promise<Command | ErrnoCode> {
    const extents: Extent[] = [];
    for (const run of runs) {
      if (inline && fitsInline(run)) {
        extents.push({ kind: "inline", offset: run.offset, data: run.bytes() });
        continue;
      }
      const slice = await this.#uploadOf(run).finish();
      if (typeof slice === "string") return slice;
      extents.push({ kind: "slice", offset: run.offset, slice });
    }
    return {
      kind: "write",
      inode: this.#inode,
      extents,
      mtime: batch.mtime,
      killPrivileges: batch.killPrivileges || undefined,
    };
  }

  #anyUpload(runs: readonly DirtyRun[]): boolean {
    return runs.some((run) => this.#uploads.has(run));
  }

  #fail(error: ErrnoCode): void {
    this.#errors += 1;
    this.#error = error;
  }

  #drop(run: DirtyRun): void {
    const upload = this.#uploads.get(run);
    this.#uploads.delete(run);
    this.#environment.onDirty(-run.length);
    if (upload?.moved !== true) run.release();
  }
}

function fitsInline(run: DirtyRun): boolean {
  return run.length <= INLINE_BYTES_MAX;
}

/** Attributes as an application sees them while its writes are still on their way. */
export function withDirty(attributes: Attributes, writer: FileWriter | undefined): Attributes {
  if (writer === undefined || !writer.dirty) return attributes;
  const mtime = writer.mtime ?? attributes.mtime;
  return { ...attributes, size: Math.max(attributes.size, writer.end), mtime, ctime: mtime };
}
