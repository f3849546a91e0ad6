import { channelCredentials } from "../../../proto/credentials.ts";
import { ChangelogClient, type SnapshotPart } from "../../../proto/generated/changelog.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { Pair } from "../../machine/load-part.ts";
import type { LocalEntry } from "../../machine/local-entries.ts";
import type { ServerContext } from "../../region/context.ts";
import { PEER_OPTIONS } from "./regions.ts";

/** How many parts may be proposed and not yet applied. */
const PARTS_IN_FLIGHT = 4;

/**
 * Loads a snapshot of the primary as this region's next generation, through the group's own log, and makes it the live one.
 * @throws Error if it breaks off, or if what was loaded is not what the primary stated; what was written of the generation
 *   is then never read.
 */
export async function bootstrap(
  context: ServerContext,
  address: string,
  onProgress: (keys: number) => void,
): Promise<void> {
  const { machine, proposer, volume, region } = context;
  const generation = machine.facts.lastGeneration + 1;
  const replaces = machine.version.epoch;
  const client = new ChangelogClient(address, channelCredentials(), PEER_OPTIONS);
  const stream = client.snapshot({ volume: volume.volume, region });
  let first: SnapshotPart | undefined;
  let last = false;
  let total = 0;
  let keys = 0;
  const inFlight: Promise<void>[] = [];
  const propose = async (entry: LocalEntry) => {
    if (!(await proposer.local(entry))) throw new Error("leadership was lost while the snapshot was loaded");
  };
  try {
    for await (const part of stream as AsyncIterable<SnapshotPart>) {
      first ??= part;
      last = part.last;
      total = part.total;
      const pairs = part.key.map((key, index): Pair => [key.toString("latin1"), part.value[index]!]);
      keys += pairs.length;
      onProgress(keys);
      if (pairs.length > 0) {
        const proposed = propose({ kind: "load", generation, nowMs: Date.now(), pairs });
        proposed.catch(() => {}); // it is awaited below, perhaps after it has failed: not an unhandled rejection
        inFlight.push(proposed);
      }
      if (inFlight.length >= PARTS_IN_FLIGHT) await inFlight.shift();
    }
    await Promise.all(inFlight);
    if (first?.version === undefined || !last) throw new Error("the snapshot ended early");
    const { version, stateHash } = first;
    const stated = { version: asVersion(version), stateHash, keys: total === 0 ? keys : total };
    await propose({ kind: "flip", generation, replaces, ...stated });
  } finally {
    stream.cancel();
    client.close();
    await Promise.allSettled(inFlight);
  }
  if (machine.facts.generation < generation) {
    throw new Error(
      machine.version.epoch === replaces
        ? "the snapshot is refused: its keys do not add up to the state hash that the primary stated"
        : "another epoch has begun in this region while the snapshot was loaded",
    );
  }
}
