import { pino } from "pino";
import { expect, test } from "vitest";
import type { StateMachine } from "../../../consensus/group.ts";
import { firstConfiguration } from "../../../consensus/raft/configuration.ts";
import { makeEntry } from "../../../consensus/raft/entry.ts";
import { IncomingSnapshots } from "../../../consensus/runtime/incoming-snapshots.ts";
import { processTimers } from "../../../consensus/runtime/timers.ts";
import { Refusals } from "../../../proto/refusals.ts";
import { emptyDisk, MemoryLog } from "../support/memory-log.ts";
import { Member } from "../support/transcript.ts";

const logger = pino({ level: "silent" });
const configuration = firstConfiguration([1, 2, 3].map((id) => ({ id, address: `m${id}` })));

/** A follower with these terms in its log, all durable, of which the first entry is known to be committed. */
function followerWith(terms: readonly number[]) {
  const entries = terms.map((term, i) => makeEntry(i + 1, term, "application", Buffer.from(`entry ${i + 1}`)));
  const disk = { ...emptyDisk(), hardState: { term: terms.at(-1)!, vote: 0, commit: 1 }, entries };
  const log = new MemoryLog(disk, (run) => void setImmediate(run));
  const { raft } = new Member(2, { entries, hardState: disk.hardState, commit: 1 });
  const incoming = new IncomingSnapshots({
    raft,
    log,
    machine: {
      restore: async (_: unknown, parts: AsyncIterable<Uint8Array>) => {
        for await (const _part of parts);
      },
    } as unknown as StateMachine,
    timers: processTimers,
    logger,
    keepMs: 10_000,
    idle: async () => undefined,
    onCommitted: (at) => raft.step({ type: "committed", at }),
    onRestoring: (leader, term) => raft.step({ type: "restoring", leader, term }),
    onRestored: (to) => raft.step({ type: "restored", to }),
    onFatal: (error) => {
      throw error;
    },
    refusals: new Refusals(logger),
  });
  /** The leader of `term` sends the snapshot of everything through `index`, whose entry has `entryTerm`. */
  const send = async (index: number, entryTerm: number, term: number) => {
    const header = { at: { index, term: entryTerm }, configuration, term, transfer: 7 };
    const intake = incoming.receive(1, header);
    await intake?.take(Buffer.from("a part"));
    await intake?.finish(1);
    return intake === undefined ? "not needed" : "installed";
  };
  return { raft, disk, send };
}

test("a snapshot whose last entry the log holds keeps the suffix, which this member has acknowledged (defect 17)", async () => {
  const { raft, disk, send } = followerWith([1, 1, 2, 2, 2]);
  expect(await send(3, 2, 2)).toBe("not needed");
  expect(raft.log).toMatchObject({ commit: 3, lastIndex: 5, stable: 5 });
  expect(disk.entries.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5]);
});

test("a snapshot whose last entry the log does not hold replaces the log: its suffix is of another history", async () => {
  const { raft, disk, send } = followerWith([1, 1, 2, 2, 2]);
  expect(await send(3, 3, 4)).toBe("installed");
  expect(raft.log).toMatchObject({ base: { index: 3, term: 3 }, commit: 3, lastIndex: 3 });
  expect(disk).toMatchObject({ base: { index: 3, term: 3 }, entries: [] });
});
