import type { Window } from "../raft/progress.ts";

export interface GroupTuning {
  /** A heartbeat is sent every tick. The election timeout is random, between electionTicks and twice that. */
  readonly tickMs: number;
  readonly electionTicks: number;
  /** Bound of the pending proposals; beyond it a proposal is refused as `busy`. */
  readonly proposalsMax: number;
  readonly entryBytesMax: number;
  readonly appendBytesMax: number;
  readonly window: Window;
  /** Committed entries applied in one turn. */
  readonly applyBytesMax: number;
  /**
   * The same while a write is under way whose end must be noticed soon: about twenty creates, which take as long as a
   * write to disk.
   */
  readonly applySliceBytes: number;
  /** Entries kept in memory, for followers and readers of the log. */
  readonly tailBytesMax: number;
  readonly cutEveryMs: number;
  /** The log is cut in steps of at least this many entries. */
  readonly cutStep: number;
  /** Applied entries kept in the log, so that a member that was down for a moment needs no snapshot. */
  readonly keepEntries: number;
  /** Applied entries kept at most for a member that responds but is behind. */
  readonly keepForSlowEntries: number;
  /** How long an interrupted snapshot transfer can be resumed, at its sender and at its receiver. */
  readonly snapshotKeepMs: number;
  /** A message whose term is further ahead than this is refused: no series of elections leads there. */
  readonly termLeapMax: number;
}

export const DEFAULT_TUNING: GroupTuning = {
  tickMs: 100,
  electionTicks: 10,
  proposalsMax: 4096,
  entryBytesMax: 8 << 20,
  appendBytesMax: 512 << 10,
  window: { messagesMax: 128, bytesMax: 8 << 20 },
  applyBytesMax: 1 << 20,
  applySliceBytes: 2 << 10,
  tailBytesMax: 32 << 20,
  cutEveryMs: 1000,
  cutStep: 5_000,
  keepEntries: 10_000,
  keepForSlowEntries: 200_000,
  snapshotKeepMs: 15_000,
  termLeapMax: 1_000_000,
};
