import type { MachineSnapshot } from "../../consensus/group.ts";
import type { StateSnapshot } from "../storage/state-snapshot.ts";
import { decodePairs, encodePairs, type Pair } from "./load-part.ts";
import { APPLIED_KEY, decodeRecord } from "./local-keys.ts";
import type { TurnStore } from "./turn-store.ts";

const PART_BYTES = 1024 * 1024;
const HEADER_BYTES = 100;

/** The whole store, in parts of about 1 MiB. */
export async function snapshotParts(snapshot: StateSnapshot): Promise<MachineSnapshot> {
  const index = await appliedIndexOf(snapshot);
  return { index, parts: parts(snapshot), release: () => snapshot.release() };
}

async function appliedIndexOf(snapshot: StateSnapshot): Promise<number> {
  for await (const page of snapshot.pages(APPLIED_KEY)) {
    const [key, value] = page[0]!;
    return key === APPLIED_KEY ? decodeRecord<{ index: number }>(value).index : 0;
  }
  return 0;
}

async function* parts(snapshot: StateSnapshot): AsyncGenerator<Uint8Array> {
  for await (const pairs of gather(snapshot.pages(), PART_BYTES)) yield encodePairs(pairs);
}

/** Regroups pages of pairs into groups of about `bytesMax` bytes. */
export async function* gather(pages: AsyncIterable<readonly Pair[]>, bytesMax: number): AsyncGenerator<Pair[]> {
  let pairs: Pair[] = [];
  let bytes = 0;
  for await (const page of pages) {
    for (const pair of page) {
      pairs.push(pair);
      bytes += pair[0].length + pair[1].length + HEADER_BYTES;
      if (bytes < bytesMax) continue;
      yield pairs;
      pairs = [];
      bytes = 0;
    }
  }
  if (pairs.length > 0) yield pairs;
}

/** Replaces the whole store by the parts of a snapshot. */
export async function restoreStore(store: TurnStore, parts: AsyncIterable<Uint8Array>): Promise<void> {
  await store.replace(async (write) => {
    for await (const part of parts) {
      await write(decodePairs(Buffer.from(part.buffer, part.byteOffset, part.byteLength)));
    }
  });
}
