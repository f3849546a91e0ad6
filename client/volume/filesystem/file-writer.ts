import type { Attributes, Command, Extent } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import { INLINE_BYTES_MAX, type Inode, type Time } from "../../../core/ids.ts";
import type { CommandSource, Done } from "../metadata/client-session.ts";
import { afterWrite, type DeferredChanges } from "./deferred-changes.ts";
import { type DirtyRun, joinRuns, writeIntoRuns } from "./dirty-run.ts";
import { SliceUpload, type UploadEnvironment } from "./slice-upload.ts";
import { isSameTime, modeAfter, overUncommitted, type Uncommitted } from "./uncommitted.ts";

export interface WriterEnvironment extends UploadEnvironment {
  mutate(source: CommandSource): Promise<Done | ErrnoCode>;
  /** The granted slice ids were refused: they must not be used again. */
  dropGrants(): void;
  now(): Time;
  /**
   * Called in the same turn of the event loop in which the bytes leave the writer: readers then find them in the
   * volume.
   */
  onCommitted(inode: Inode, done: Done): void;
  onFailed(inode: Inode, error: ErrnoCode): void;
  /** A batch was committed or has failed. */
  onIdle(inode: Inode): void;
  /** By how much the memory of what is dirty changed, bytes. */
  onMemory(bytes: number): void;
}

interface Batch extends Uncommitted {
  readonly runs: DirtyRun[];
  readonly mtime: Time;
  /** A change time that an application has seen: the commit keeps it. */
  seenCtime: Time | undefined;
}

/** With more runs, each write would cost more than a commit in the background. */
const RUNS_MAX = 256;
const EXTENTS_MAX = 64;
const REFUSED_MAX = 3;

/**
 * What was written to one file and is not yet committed. Writes go into runs. A commit takes the current runs as a
 * batch; batches are committed one after the other, while the blocks of all batches are uploaded at the same time.
 */
export class FileWriter {
  readonly inode: Inode;
  readonly #environment: WriterEnvironment;
  #runs: DirtyRun[] = [];
  #batches: Batch[] = [];
  readonly #uploads = new Map<DirtyRun, SliceUpload>();
  #tail: Promise<void> = Promise.resolve();
  #mtime: Time | undefined;
  #killPrivileges = false;
  #changes: DeferredChanges | undefined;
  /** Time of the last write or deferred change. */
  #touched: Time | undefined;
  /** The attributes that were shown last, if nothing was written or changed since. */
  #shown: Attributes | undefined;
  #dirtySinceMs = 0;
  #errors = 0;
  #error: ErrnoCode | undefined;
  #commits = 0;

  constructor(inode: Inode, environment: WriterEnvironment) {
    this.inode = inode;
    this.#environment = environment;
  }

  get dirty(): boolean {
    return this.uncommitted || this.#batches.length > 0;
  }

  /** Whether there is anything that no commit has taken yet. */
  get uncommitted(): boolean {
    return this.#runs.length > 0 || this.#changes !== undefined;
  }

  /** Whether there is a deferred change of attributes that no commit has taken yet. */
  get changing(): boolean {
    return this.#changes !== undefined;
  }

  /** Since when there is something that no commit has taken yet (performance.now); Infinity when there is nothing. */
  get dirtySinceMs(): number {
    return this.uncommitted ? this.#dirtySinceMs : Number.POSITIVE_INFINITY;
  }

  /** Whether a commit is in progress, which will free its memory. */
  get committing(): boolean {
    return this.#batches.length > 0;
  }

  /** How many bytes are not committed yet. */
  get dirtyBytes(): number {
    let bytes = 0;
    for (const run of this.#all()) bytes += run.length;
    return bytes;
  }

  /** End of the last dirty byte, as an offset in the file; 0 when nothing is dirty. */
  get end(): number {
    let end = 0;
    for (const run of this.#all()) end = Math.max(end, run.end);
    return end;
  }

  /**
   * Number of failed commits so far. A descriptor that remembers a smaller number has not reported the last `error`.
   */
  get errors(): number {
    return this.#errors;
  }

  get error(): ErrnoCode | undefined {
    return this.#error;
  }

  /** Grows whenever bytes leave the writer: a read that began before must be repeated. */
  get commits(): number {
    return this.#commits;
  }

  write(offset: number, data: Uint8Array, killPrivileges: boolean): void {
    if (data.length === 0) return;
    if (!this.uncommitted) this.#dirtySinceMs = performance.now();
    this.#environment.onMemory(writeIntoRuns(this.#runs, offset, data));
    this.#mtime = this.#environment.now();
    this.#touched = this.#mtime;
    this.#shown = undefined;
    if (this.#changes !== undefined) this.#changes = afterWrite(this.#changes, this.#mtime, killPrivileges);
    this.#killPrivileges ||= killPrivileges;
    this.#storeFullBlocks();
    if (this.#runs.length > RUNS_MAX || this.#runs.at(-1)!.chunkIsFull) void this.commit();
  }

  /** Leaves a change of attributes to the next commit. */
  defer(changes: DeferredChanges): void {
    if (!this.uncommitted) this.#dirtySinceMs = performance.now();
    this.#touched = this.#environment.now();
    this.#shown = undefined;
    this.#changes = { ...this.#changes, ...changes };
  }

  /** Resolves when all that is dirty now is committed or has failed (see `errors`). Never rejects. */
  commit(): Promise<void> {
    if (!this.uncommitted) return this.#tail;
    const batch: Batch = {
      runs: this.#joined(this.#runs),
      mtime: this.#changes?.mtime ?? this.#mtime ?? this.#environment.now(),
      killPrivileges: this.#killPrivileges,
      changes: this.#changes,
      seenCtime: this.#shown?.ctime,
    };
    this.#runs = [];
    this.#killPrivileges = false;
    this.#changes = undefined;
    this.#batches.push(batch);
    for (const run of batch.runs) if (!fitsInline(run)) this.#uploadOf(run).begin(run.blockCount);
    this.#tail = this.#tail.then(() => this.#commitBatch(batch));
    return this.#tail;
  }

  /** As `commit`, for writes that come many at once: those that come while a commit is in progress share the next one. */
  async commitTogether(): Promise<void> {
    await this.#tail;
    await this.commit();
  }

  /** The mode with the uncommitted writes and changes applied. */
  overMode(mode: number): number {
    return this.#pending().reduce(modeAfter, mode);
  }

  /**
   * Attributes with the uncommitted writes and changes applied, for an application: the change time that it sees is the
   * one that the commit leaves.
   */
  show(attributes: Attributes): Attributes {
    const over = overUncommitted(attributes, this.#pending());
    this.#shown = { ...over, ctime: this.#touched ?? over.ctime };
    const last = this.#batches.at(-1);
    if (!this.uncommitted && last !== undefined) last.seenCtime = this.#shown.ctime;
    return this.#shown;
  }

  /** What was shown last and is not committed as it was shown: it may have been a guess. */
  takeShown(): Attributes | undefined {
    const shown = this.#shown;
    this.#shown = undefined;
    return shown;
  }

  /** Copies the dirty bytes of the file's range [offset, offset + target.length) over `target`. */
  overlay(target: Uint8Array, offset: number): void {
    for (const run of this.#all()) run.overlay(target, offset);
  }

  touches(offset: number, length: number): boolean {
    for (const run of this.#all()) if (run.overlaps(offset, length)) return true;
    return false;
  }

  /** True when one run holds the whole range, so that nothing need be read from the volume. */
  covers(offset: number, length: number): boolean {
    for (const run of this.#all()) if (run.offset <= offset && run.end >= offset + length) return true;
    return false;
  }

  #pending(): Uncommitted[] {
    const killPrivileges = this.#killPrivileges;
    return [...this.#batches, { runs: this.#runs, mtime: this.#mtime, killPrivileges, changes: this.#changes }];
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

  /** Joins adjacent runs of which no block is uploaded, without changing the order of the others. */
  #joined(runs: readonly DirtyRun[]): DirtyRun[] {
    const before = bufferBytesOf(runs);
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
    const after = bufferBytesOf(result);
    if (after !== before) this.#environment.onMemory(after - before);
    return result;
  }

  async #commitBatch(batch: Batch): Promise<void> {
    let written: Done | ErrnoCode | undefined;
    let changing: Promise<Done | ErrnoCode | undefined> | undefined;
    while (batch.runs.length > 0) {
      const next = batch.runs.slice(0, EXTENTS_MAX);
      const sent = Promise.withResolvers<void>();
      // An unexpected rejection must fail this commit, not block all that follow.
      const writing = this.#commitRuns(next, batch, sent.resolve).catch((): ErrnoCode => "EIO");
      // In one frame, behind the last write. But a mode must follow bytes whose commit clears set-user-ID.
      const isLast = next.length === batch.runs.length;
      if (isLast && !batch.killPrivileges) changing = sent.promise.then(() => this.#commitChanges(batch));
      written = await writing;
      sent.resolve();
      // In one turn: the volume has these bytes, and the writer drops them. After a failure the rest of the batch is
      // lost, too.
      const runs = batch.runs.splice(0, typeof written === "string" ? batch.runs.length : next.length);
      this.#commits += 1;
      this.#settle(written);
      for (const run of runs) this.#drop(run);
    }
    const changed = await (changing ?? this.#commitChanges(batch));
    // An application has looked at it meanwhile, or the write was sent again behind the changes.
    const { seenCtime } = batch;
    if (seenCtime !== undefined && !endsAt(seenCtime, [written, changed])) {
      await this.#commitChanges({ changes: undefined, seenCtime });
    }
    this.#batches = this.#batches.filter((other) => other !== batch);
    this.#environment.onIdle(this.inode);
  }

  async #commitChanges({
    changes,
    seenCtime,
  }: Pick<Batch, "changes" | "seenCtime">): Promise<Done | ErrnoCode | undefined> {
    if (changes === undefined && seenCtime === undefined) return undefined;
    const command = { kind: "setattr", inode: this.inode, ...changes, ctime: seenCtime } as const;
    const done = await this.#environment.mutate(command).catch((): ErrnoCode => "EIO");
    this.#settle(done);
    return done;
  }

  #settle(done: Done | ErrnoCode): void {
    if (typeof done !== "string") {
      this.#environment.onCommitted(this.inode, done);
      return;
    }
    this.#errors += 1;
    this.#error = done;
    this.#environment.onFailed(this.inode, done);
  }

  /** `onMade`: the command is made, and is sent in this turn of the event loop. */
  async #commitRuns(runs: readonly DirtyRun[], batch: Batch, onMade: () => void): Promise<Done | ErrnoCode> {
    let inline = true;
    for (let refused = 0; ; ) {
      const done = await this.#environment.mutate(() => {
        const command = this.#command(runs, batch, inline);
        command.then(onMade, onMade);
        return command;
      });
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
      inode: this.inode,
      extents,
      mtime: batch.mtime,
      killPrivileges: batch.killPrivileges || undefined,
    };
  }

  #anyUpload(runs: readonly DirtyRun[]): boolean {
    return runs.some((run) => this.#uploads.has(run));
  }

  #drop(run: DirtyRun): void {
    const upload = this.#uploads.get(run);
    this.#uploads.delete(run);
    this.#environment.onMemory(-run.bufferBytes);
    if (upload?.moved !== true) run.release();
  }
}

function fitsInline(run: DirtyRun): boolean {
  return run.length <= INLINE_BYTES_MAX;
}

function bufferBytesOf(runs: readonly DirtyRun[]): number {
  return runs.reduce((sum, run) => sum + run.bufferBytes, 0);
}

/** Whether this is the change time that the last of these commands has left. */
function endsAt(ctime: Time, commands: readonly (Done | ErrnoCode | undefined)[]): boolean {
  let last: Attributes | undefined;
  for (const done of commands) {
    const attributes = typeof done === "object" ? done.outcome.attributes : undefined;
    if (attributes !== undefined && (last === undefined || attributes.changed > last.changed)) last = attributes;
  }
  return last === undefined || isSameTime(last.ctime, ctime);
}
