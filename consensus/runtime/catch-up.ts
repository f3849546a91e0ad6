import type { Input } from "../raft/input.ts";
import type { Ready } from "../raft/raft.ts";
import type { Fetch } from "../raft/state.ts";
import { StorageError } from "../storage-error.ts";
import type { GroupContext } from "./group-options.ts";
import { OutgoingSnapshots } from "./outgoing-snapshots.ts";

/** Between two attempts to send a member a snapshot. */
const SNAPSHOT_RETRY_MS = 500;

/**
 * What a leader does for followers that are far behind, outside the turn: reads old entries from disk, and sends a
 * snapshot when they were compacted. Each result is an input of a later turn.
 */
export class CatchUp {
  readonly outgoing: OutgoingSnapshots;
  readonly #context: GroupContext;
  readonly #step: (input: Input) => void;

  constructor(context: GroupContext, step: (input: Input) => void) {
    this.#context = context;
    this.#step = step;
    this.outgoing = new OutgoingSnapshots({ ...context, keepMs: context.tuning.snapshotKeepMs });
  }

  start({ fetches, snapshotsFor }: Ready): void {
    for (const fetch of fetches) void this.#fetch(fetch);
    for (const to of snapshotsFor) void this.#sendSnapshot(to);
  }

  async #fetch({ to, from, through, bytesMax }: Fetch): Promise<void> {
    const { raft, log, lifecycle } = this.#context;
    const { term } = raft;
    try {
      const entries = await log.read(from, through, bytesMax);
      this.#step({ type: "fetched", term, to, from, entries });
    } catch (error) {
      lifecycle.fail(error as Error);
    }
  }

  async #sendSnapshot(to: number): Promise<void> {
    const { timers, logger, lifecycle } = this.#context;
    let index: number | undefined;
    try {
      index = await this.outgoing.send(to);
    } catch (error) {
      if (error instanceof StorageError) return lifecycle.fail(error);
      logger.warn({ to, reason: (error as Error).message }, "raft: snapshot not delivered, will retry");
      await new Promise<void>((resolve) => timers.after(SNAPSHOT_RETRY_MS, resolve));
    }
    this.#step({ type: "snapshotSent", to, index });
  }
}
