import type { LogStore } from "../log-store.ts";
import type { Entry } from "../raft/entry.ts";
import type { Raft } from "../raft/raft.ts";

/** See Group.readLog. Reads from memory if the entries are there, else from disk. */
export async function readCommitted(
  { log }: Raft,
  store: LogStore,
  from: number,
  bytesMax: number,
): Promise<readonly Entry[]> {
  if (from > log.readable) return [];
  const cached = from > log.base.index ? log.slice(from, bytesMax, log.readable) : [];
  const entries = cached ?? (await store.read(from, log.readable, bytesMax));
  if (entries.length > 0) return entries;
  throw new RangeError(`entry ${from} was cut from the log, which begins at ${log.firstIndex}`);
}
