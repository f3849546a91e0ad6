import { backoffMs, pause } from "../../../base/waiting.ts";
import type { Slice } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { RegionIndex, SliceId } from "../../../core/ids.ts";
import type { BlockService } from "../blocks/block-service.ts";
import type { UploadAnswer } from "../blocks/protocol.ts";
import type { DirtyRun } from "./dirty-run.ts";

export interface UploadEnvironment {
  readonly blocks: BlockService;
  /** A slice id that was granted to the session. */
  takeSlice(): Promise<SliceId | ErrnoCode>;
  /** Index of the current primary: the blocks go to its bucket. */
  primaryRegion(): RegionIndex;
  readonly writeTimeoutMs: number;
  onUploadFailure(slice: SliceId, answer: UploadAnswer): void;
}

/** Where the run is being stored: under one id, in one bucket. */
interface Place {
  readonly region: RegionIndex;
  readonly slice: Promise<SliceId | ErrnoCode>;
  /** By block: its checksum once it is stored; undefined for a block that is not uploaded or has failed. */
  readonly blocks: (Promise<UploadAnswer> | undefined)[];
}

const PAUSE_FIRST_MS = 100;
const PAUSE_MOST_MS = 3000;

/**
 * Stores a run's blocks as one slice in the primary's bucket, while the run still grows; starts over when the primary
 * moves.
 */
export class SliceUpload {
  readonly #run: DirtyRun;
  readonly #environment: UploadEnvironment;
  #place: Place | undefined;
  #moved = false;

  constructor(run: DirtyRun, environment: UploadEnvironment) {
    this.#run = run;
    this.#environment = environment;
  }

  /** True when an attempt was abandoned: its uploads may still read the buffers. */
  get moved(): boolean {
    return this.#moved;
  }

  /** Starts to store the first `blocks` blocks, which are immutable from now on. */
  begin(blocks: number): Place {
    this.#run.freeze(blocks);
    this.#place ??= { region: this.#environment.primaryRegion(), slice: this.#environment.takeSlice(), blocks: [] };
    const place = this.#place;
    for (let index = 0; index < blocks; index++) place.blocks[index] ??= this.#upload(place, index);
    return place;
  }

  /**
   * Resolves to the slice once the whole run is stored in the current primary's bucket. EIO or ENOSPC after
   * `writeTimeoutMs`.
   */
  async finish(): Promise<Slice | ErrnoCode> {
    const deadlineMs = performance.now() + this.#environment.writeTimeoutMs;
    for (let attempt = 0; ; attempt++) {
      if (this.#place !== undefined && this.#place.region !== this.#environment.primaryRegion()) this.forget();
      const place = this.begin(this.#run.blockCount);
      const id = await place.slice;
      if (typeof id === "string") {
        this.#place = undefined;
        return id;
      }
      const answers = await Promise.all(place.blocks);
      const failed = answers.find((answer) => answer?.crc32c === undefined);
      if (failed === undefined) {
        if (place.region !== this.#environment.primaryRegion()) continue;
        return { id, bytes: this.#run.length, home: place.region, crc32c: answers.map((answer) => answer!.crc32c!) };
      }
      this.#environment.onUploadFailure(id, failed);
      if (performance.now() > deadlineMs) return failed.code === "full" ? "ENOSPC" : "EIO";
      for (const [index, answer] of answers.entries()) {
        if (answer?.crc32c === undefined) place.blocks[index] = undefined;
      }
      // Other content is stored under this id, so the id must not be used.
      if (failed.code === "conflict") this.forget();
      await pause(backoffMs(attempt, PAUSE_FIRST_MS, PAUSE_MOST_MS));
    }
  }

  /** What was stored cannot be used (the primary moved, or the id was refused): the next attempt takes another id. */
  forget(): void {
    this.#place = undefined;
    this.#moved = true;
  }

  async #upload(place: Place, index: number): Promise<UploadAnswer> {
    const slice = await place.slice;
    if (typeof slice === "string") return { code: slice };
    return this.#environment.blocks.upload({ region: place.region, slice, index, data: this.#run.block(index) });
  }
}
