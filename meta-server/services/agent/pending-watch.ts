import type { ServerWritableStream } from "@grpc/grpc-js";
import { waitForDrain } from "../../../base/wait-for-drain.ts";
import type { PendingSlice, PendingSlices, WatchPendingRequest } from "../../../proto/generated/agent.ts";
import { decodePending, type Pending, pendingPrefix } from "../../machine/local-keys.ts";
import type { ServerContext } from "../../region/context.ts";
import { asBuffer } from "../metadata/responses.ts";

const FRAME_SLICES = 1_000;
const NO_SLICE = Buffer.alloc(0);

/**
 * One agent's stream: first all pending slices, then the changes: slices that become pending, cease to be pending, or are
 * urgent.
 */
export class PendingWatch {
  readonly #context: ServerContext;
  readonly #stream: ServerWritableStream<WatchPendingRequest, PendingSlices>;
  #queued = new Map<number, PendingSlice>();
  #scheduled = false;
  #walking = true;
  #ended = false;

  constructor(
    context: ServerContext,
    stream: ServerWritableStream<WatchPendingRequest, PendingSlices>,
    onEnd: (watch: PendingWatch) => void,
  ) {
    this.#context = context;
    this.#stream = stream;
    for (const event of ["cancelled", "error", "close"]) {
      stream.on(event, () => {
        this.#ended = true;
        onEnd(this);
      });
    }
    void this.#walk();
  }

  added(pending: readonly Pending[]): void {
    for (const one of pending) this.#queue(wire(one, false));
  }

  gone(slices: readonly number[]): void {
    for (const id of slices) this.#queue({ id, slice: NO_SLICE, sinceMs: 0, urgent: false, gone: true });
  }

  urgent(pending: readonly Pending[]): void {
    for (const one of pending) this.#queue(wire(one, true));
  }

  end(): void {
    this.#ended = true;
    this.#stream.end();
  }

  /**
   * Sends all pending slices. Changes are queued meanwhile and sent afterwards, so that the latest news of a slice is the
   * last.
   */
  async #walk(): Promise<void> {
    const { machine, logger } = this.#context;
    try {
      for await (const page of machine.localPages(pendingPrefix(machine.facts.generation))) {
        if (this.#ended) return;
        // The page was read a moment ago: leaves out slices that have become resident since.
        const slices = page
          .map(([, value]) => decodePending(value))
          .filter(({ slice }) => machine.facts.isPending(slice));
        await this.#write(
          slices.map((one) => wire(one, false)),
          false,
        );
      }
      await this.#write([], true);
      this.#walking = false;
      this.#schedule();
    } catch (error) {
      logger.error(error, "the pending slices could not be read");
      this.end();
    }
  }

  #queue(slice: PendingSlice): void {
    this.#queued.delete(slice.id);
    this.#queued.set(slice.id, slice);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#walking || this.#queued.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    while (this.#queued.size > 0 && !this.#ended) {
      const all = [...this.#queued.values()];
      this.#queued = new Map(all.slice(FRAME_SLICES).map((slice) => [slice.id, slice]));
      await this.#write(all.slice(0, FRAME_SLICES), true);
    }
    this.#scheduled = false;
  }

  #write(slices: PendingSlice[], caughtUp: boolean): Promise<void> | undefined {
    const { totals } = this.#context.machine.facts;
    const frame = { slices, caughtUp, pending: totals.slices, pendingBytes: totals.bytes };
    if (this.#ended || this.#stream.write(frame)) return undefined;
    return waitForDrain(this.#stream);
  }
}

function wire({ slice, record, sinceMs }: Pending, urgent: boolean): PendingSlice {
  return { id: slice, slice: asBuffer(record), sinceMs, urgent, gone: false };
}
