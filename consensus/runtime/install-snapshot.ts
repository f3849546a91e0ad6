import type { StateMachine } from "../group.ts";
import type { LogStore } from "../log-store.ts";
import type { SnapshotPosition } from "../raft/input.ts";

/**
 * Replaces the machine's state, then the log. The mark written first lets `recover` finish after a crash between the two.
 * @throws when the parts end early or are invalid: nothing has changed then. A disk error is also reported to `onFatal`.
 */
export async function installSnapshot(
  log: LogStore,
  machine: StateMachine,
  { at, configuration }: SnapshotPosition,
  parts: AsyncIterable<Uint8Array>,
  onFatal: (error: Error) => void,
): Promise<void> {
  let partsError: unknown;
  async function* watched() {
    try {
      yield* parts;
    } catch (error) {
      partsError = error;
      throw error;
    }
  }
  try {
    await log.markRestoring({ ...at, configuration });
    try {
      await machine.restore(at, watched());
    } catch (error) {
      // Invalid parts are the sender's fault, not this disk's.
      if (partsError === undefined && error instanceof RangeError) partsError = error;
      if (partsError === undefined) throw error;
      await log.markRestoring(undefined);
      throw partsError;
    }
    await log.reset({ ...at, configuration });
  } catch (error) {
    if (error !== partsError) onFatal(error as Error);
    throw error;
  }
}
