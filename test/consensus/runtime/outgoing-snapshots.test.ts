import { pino } from "pino";
import { expect, test } from "vitest";
import type { StateMachine } from "../../../consensus/group.ts";
import { firstConfiguration } from "../../../consensus/raft/configuration.ts";
import type { Raft } from "../../../consensus/raft/raft.ts";
import { OutgoingSnapshots } from "../../../consensus/runtime/outgoing-snapshots.ts";
import type { SnapshotSource, Transport } from "../../../consensus/transport/transport.ts";

/** OutgoingSnapshots over a transport whose transfers end when the test says so. */
function snapshotsUnderTest() {
  const attempts: { source: SnapshotSource; end: PromiseWithResolvers<void> }[] = [];
  const timers: (() => void)[] = [];
  let released = 0;
  async function* parts() {
    for (let i = 0; i < 10; i++) yield Buffer.from([i]);
  }
  const outgoing = new OutgoingSnapshots({
    raft: {
      term: 1,
      log: { base: { index: 0 }, term: () => 1, configurationAt: () => firstConfiguration([]) },
    } as unknown as Raft,
    machine: {
      snapshot: async () => ({ index: 5, parts: parts(), release: async () => void released++ }),
    } as unknown as StateMachine,
    transport: {
      sendSnapshot: (_: number, source: SnapshotSource) => {
        const end = Promise.withResolvers<void>();
        attempts.push({ source, end });
        return end.promise;
      },
    } as unknown as Transport,
    timers: {
      soon: setImmediate,
      every: () => () => {},
      after: (_, run) => {
        timers.push(run);
        return () => {};
      },
    },
    random: Math.random,
    logger: pino({ level: "silent" }),
    keepMs: 1,
  });
  const begun = async (count: number) => {
    for (let i = 0; i < 100 && attempts.length < count; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(attempts).toHaveLength(count);
    return attempts.at(-1)!;
  };
  return { outgoing, begun, timers, released: () => released };
}

async function take(source: SnapshotSource, from: number, count: number): Promise<number[]> {
  const taken: number[] = [];
  for await (const part of source.parts(from)) {
    taken.push(part[0]!);
    source.taken(from + taken.length);
    if (taken.length === count) break;
  }
  return taken;
}

test("one attempt at a time: that of a re-elected leader does not release the snapshot of the first", async () => {
  const { outgoing, begun, released } = snapshotsUnderTest();
  const first = outgoing.send(3);
  const { source, end } = await begun(1);
  await expect(outgoing.send(3)).rejects.toThrow("still under way");
  expect(released()).toBe(0);
  expect(await take(source, 0, 10)).toHaveLength(10);
  end.resolve();
  expect(await first).toBe(5);
  expect([released(), outgoing.pins]).toEqual([1, []]);
});

test("a snapshot is kept while attempts make progress or one is under way, then released", async () => {
  const { outgoing, begun, timers, released } = snapshotsUnderTest();
  const failed = async (count: number, from: number, parts: number) => {
    const sent = outgoing.send(3).catch((error: Error) => error.message);
    const { source, end } = await begun(count);
    expect(await take(source, from, parts)).toEqual(Array.from({ length: parts }, (_, i) => from + i));
    end.reject(new Error("the stream broke"));
    expect(await sent).toBe("the stream broke");
  };
  await failed(1, 0, 4);
  await failed(2, 4, 3); // resumes at the fifth part
  timers[0]!(); // there was progress since the first broke
  expect([released(), outgoing.pins]).toEqual([0, [5]]);
  const third = outgoing.send(3).catch(() => undefined);
  const { end } = await begun(3);
  timers[1]!(); // no progress, but an attempt reads from it
  await new Promise((resolve) => setImmediate(resolve));
  expect(released()).toBe(0);
  end.reject(new Error("the stream broke"));
  await third;
  timers[2]!();
  await new Promise((resolve) => setImmediate(resolve));
  expect([released(), outgoing.pins]).toEqual([1, []]);
});
