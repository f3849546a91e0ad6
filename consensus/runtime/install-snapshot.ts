import type { StateMachine } from "../group.ts";
import type { LogStore } from "../log-store.ts";
import type { SnapshotPosition } from "../raft/input.ts";

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
      // Parts that cannot be read are their sender's fault, not this disk's.
      if (lost === undefined && error instanceof RangeError) lost = error;
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
