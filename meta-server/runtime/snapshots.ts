import type { StateMachine } from "../group.ts";
import type { Raft, SnapshotPosition } from "../raft/raft.ts";
import type { LogStore } from "../storage/log-store.ts";
import type { Transport } from "../transport/transport.ts";

/** @returns the index up to which the member has everything now */
export async function sendSnapshot(
  machine: StateMachine,
  transport: Transport,
  raft: Raft,
  to: number,
  pin: (index: number) => void,
): Promise<number> {
  const { term } = raft;
  const snapshot = await machine.snapshot();
  try {
    pin(snapshot.index);
    const entryTerm = raft.log.term(snapshot.index);
    if (entryTerm === undefined || raft.term !== term) throw new Error("leadership changed before it was begun");
    const at = { index: snapshot.index, term: entryTerm };
    const configuration = raft.log.configurationAt(at.index);
    await transport.sendSnapshot(to, { at, configuration, term }, snapshot.parts);
    return snapshot.index;
  } finally {
    await snapshot.release();
  }
}

/**
 * Replaces the machine's state, then the log. The mark written first tells a restarted server that the log is to be
 * replaced too, if the machine was.
 * @throws when the parts broke off: nothing has changed then. A failing disk goes to `onBroken` as well.
 */
export async function installSnapshot(
  log: LogStore,
  machine: StateMachine,
  { at, configuration }: SnapshotPosition,
  parts: AsyncIterable<Uint8Array>,
  onBroken: (error: Error) => void,
): Promise<void> {
  let lost: unknown;
  async function* watched() {
    try {
      yield* parts;
    } catch (error) {
      lost = error;
      throw error;
    }
  }
  try {
    await log.markRestoring({ ...at, configuration });
    try {
      await machine.restore(at, watched());
    } catch (error) {
      if (lost === undefined) throw error;
      await log.markRestoring(undefined);
      throw lost;
    }
    await log.reset({ ...at, configuration });
  } catch (error) {
    if (error !== lost) onBroken(error as Error);
    throw error;
  }
}
