import { type ServerDuplexStream, type ServerWritableStream, status } from "@grpc/grpc-js";
import { waitForDrain } from "../../../base/wait-for-drain.ts";
import { RECORDS } from "../../../core/codec/records.ts";
import { HASH_KEY, VOLUME_KEY } from "../../../core/keys.ts";
import type {
  ChangelogFrame,
  ChangelogServer,
  FollowerFrame,
  SnapshotPart,
  SnapshotRequest,
} from "../../../proto/generated/changelog.ts";
import { gather } from "../../machine/snapshot.ts";
import type { ServerContext } from "../../region/context.ts";
import { asBuffer } from "../metadata/responses.ts";
import { failStream } from "../unary.ts";
import { type ChangelogOptions, FollowStream } from "./follow-stream.ts";

const PART_BYTES = 768 * 1024;
/** How long the log is kept after a snapshot, so that the mirror can follow from there. */
const PIN_AFTER_MS = 120_000;

/** The service for mirrors: the changelog, and snapshots of the volume. */
export class ChangelogService {
  readonly #context: ServerContext;
  readonly #options: ChangelogOptions;
  readonly #streams = new Set<FollowStream>();

  constructor(context: ServerContext, options: ChangelogOptions) {
    this.#context = context;
    this.#options = options;
    context.machine.onTurn((turn) => {
      for (const stream of this.#streams) stream.wake();
      if (turn.flipped) this.endStreams();
    });
  }

  readonly handlers: ChangelogServer = {
    follow: (stream) => this.#follow(stream),
    snapshot: (stream) => void this.#snapshot(stream),
  };

  endStreams(): void {
    for (const stream of [...this.#streams]) stream.end();
  }

  #follow(stream: ServerDuplexStream<FollowerFrame, ChangelogFrame>): void {
    const follower = new FollowStream(this.#context, stream, {
      ...this.#options,
      onEnd: (ended) => this.#streams.delete(ended),
    });
    this.#streams.add(follower);
  }

  async #snapshot(stream: ServerWritableStream<SnapshotRequest, SnapshotPart>): Promise<void> {
    const { machine, volume, logger } = this.#context;
    if (stream.request.volume !== volume.volume || machine.tree.volume === undefined || !this.#options.mayFeed()) {
      const details = "this server has no snapshot of that volume, or does not lead the primary";
      failStream(stream, { code: status.UNAVAILABLE, details });
      return;
    }
    const unpin = machine.pin(machine.version.sequence);
    try {
      await this.#sendVolume(stream);
    } catch (error) {
      logger.error(error, "a snapshot for a mirror failed");
    } finally {
      stream.end();
      setTimeout(unpin, PIN_AFTER_MS).unref();
    }
  }

  async #sendVolume(stream: ServerWritableStream<SnapshotRequest, SnapshotPart>): Promise<void> {
    let cancelled = false;
    stream.on("cancelled", () => {
      cancelled = true;
    });
    const snapshot = await this.#context.machine.volumeSnapshot();
    try {
      let first = true;
      let total = 0;
      for await (const pairs of gather(snapshot.pages, PART_BYTES)) {
        if (cancelled) return;
        const part = partOf(pairs, first);
        total += pairs.length;
        first = false;
        if (!stream.write(part)) await waitForDrain(stream);
      }
      stream.write({ ...partOf([], false), last: true, total });
    } finally {
      await snapshot.release();
    }
  }
}

type Pairs = readonly (readonly [string, Uint8Array])[];

/** The first part begins with the volume's record and the hash, and states its version and state hash. */
function partOf(pairs: Pairs, first: boolean): SnapshotPart {
  const part: SnapshotPart = {
    version: undefined,
    stateHash: "",
    uuid: "",
    keys: 0,
    key: pairs.map(([key]) => Buffer.from(key, "latin1")),
    value: pairs.map(([, value]) => asBuffer(value)),
    last: false,
    total: 0,
  };
  if (!first) return part;
  const recordAt = (key: string) => pairs.find(([one]) => one === key)![1];
  const { version, uuid, inodes } = RECORDS.volume.decode(recordAt(VOLUME_KEY));
  const hash = RECORDS.hash.decode(recordAt(HASH_KEY));
  const hex = (lane: number) => lane.toString(16).padStart(8, "0");
  return { ...part, version, uuid, keys: inodes * 2, stateHash: hex(hash.high) + hex(hash.low) };
}
