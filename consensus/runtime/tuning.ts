import type { Window } from "../raft/progress.ts";

export interface GroupTuning {
  /** A heartbeat every tick; elections after one to two times electionTicks of silence. */
  readonly tickMs: number;
  readonly electionTicks: number;
  /** Queued and in the log, not yet answered; beyond it a proposal is refused as busy. */
  readonly proposalsMax: number;
  readonly entryBytesMax: number;
  readonly appendBytesMax: number;
  readonly window: Window;
  /** Of committed entries, in one turn of the machine. */
  readonly applyBytesMax: number;
  /** The same where the turn holds up an answer: about twenty creates, which take as long as a write to the disk. */
  readonly applySliceBytes: number;
  /** Of entries kept in memory, for followers and the changelog's readers. */
  readonly tailBytesMax: number;
  readonly cutEveryMs: number;
  /** The log is cut in steps of at least this many entries. */
  readonly cutStep: number;
  /** Kept behind what is applied, so that a member that was away for a moment needs no snapshot. */
  readonly keepEntries: number;
  /** Kept at most for a member that answers but is behind. */
  readonly keepForSlowEntries: number;
  /** What a broken transfer of a snapshot leaves is kept for so long, at its sender and at its receiver. */
  readonly snapshotKeepMs: number;
  /** A message whose term is further ahead than this comes from nowhere. */
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
