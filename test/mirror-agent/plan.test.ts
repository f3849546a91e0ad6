import fc from "fast-check";
import { expect, test } from "vitest";
import type { Slice } from "../../core/commands.ts";
import type { RegionIndex, SliceId } from "../../core/ids.ts";
import { type CopyJob, slicesOfJob } from "../../mirror-agent/copy-job.ts";
import { Plan } from "../../mirror-agent/plan.ts";

const OPTIONS = { windowSlices: 8, windowBytes: 1_000_000, knownMax: 1000, pauseFirstMs: 1000, pauseMaxMs: 60_000 };
const everywhere = () => true;

function slice(id: number, options: { home?: number; bytes?: number } = {}): Slice {
  const { home = 0, bytes = 100_000 } = options;
  return { id: id as SliceId, bytes, home: home as RegionIndex, crc32c: [1] };
}

const ids = (jobs: readonly CopyJob[]) => jobs.flatMap((job) => job.slices.map((one) => one.id as number));

test("urgent slices first, then the oldest", () => {
  const plan = new Plan(OPTIONS);
  plan.see({ slice: slice(1), sinceMs: 300, urgent: false });
  plan.see({ slice: slice(2), sinceMs: 100, urgent: false });
  plan.see({ slice: slice(3), sinceMs: 400, urgent: true });
  const { add } = plan.take(1000, everywhere);
  expect(ids(add)).toEqual([3, 2, 1]);
  expect(add[0]!.priority).toBe(1);
  expect(add[1]!.priority).toBeGreaterThan(1);
});

test("a small slice goes before a large one of the same age, and no later than its handicap allows", () => {
  const plan = new Plan({ ...OPTIONS, windowBytes: 1e9 });
  const large = { slice: slice(1, { bytes: 64 * 1024 * 1024 }), sinceMs: 1000, urgent: false };
  plan.see(large);
  plan.see({ slice: slice(2), sinceMs: 2000, urgent: false });
  plan.see({ slice: slice(3), sinceMs: 9000, urgent: false });
  expect(ids(plan.take(10_000, everywhere).add)).toEqual([2, 1, 3]);
});

test("an urgent slice ignores the window and its own pause; one in the queue is promoted", () => {
  const plan = new Plan({ ...OPTIONS, windowSlices: 2 });
  for (let id = 1; id <= 4; id++) plan.see({ slice: slice(id), sinceMs: id, urgent: false });
  expect(ids(plan.take(10, everywhere).add)).toEqual([1, 2]);
  plan.failed(1 as SliceId, "slice", 10);
  expect(ids(plan.take(11, everywhere).add)).toEqual([3]);
  plan.see({ slice: slice(1), sinceMs: 1, urgent: true });
  plan.see({ slice: slice(2), sinceMs: 2, urgent: true });
  const step = plan.take(12, everywhere);
  expect(ids(step.add)).toEqual([1]);
  expect(ids(step.promote)).toEqual([2]);
  expect(step.promote[0]!.priority).toBe(1);
});

test("a slice that fails is parked for a growing pause, and does not hold up others", () => {
  const plan = new Plan(OPTIONS);
  plan.see({ slice: slice(1), sinceMs: 0, urgent: false });
  let nowMs = 0;
  const pauses: number[] = [];
  for (let n = 0; n < 12; n++) {
    expect(ids(plan.take(nowMs, everywhere).add)).toEqual([1]);
    const { pauseMs, failures } = plan.failed(1 as SliceId, "slice", nowMs);
    expect(failures).toBe(n + 1);
    plan.see({ slice: slice(100 + n), sinceMs: nowMs, urgent: false });
    expect(ids(plan.take(nowMs + pauseMs - 1, everywhere).add)).toEqual([100 + n]);
    plan.forget((100 + n) as SliceId);
    nowMs += pauseMs;
    pauses.push(pauseMs);
  }
  expect(pauses[5]!).toBeGreaterThan(8 * pauses[0]!);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(OPTIONS.pauseMaxMs * 1.25);
});

test("a home that does not answer holds up only its own slices; they are ready at once when it is back", () => {
  const plan = new Plan(OPTIONS);
  for (let id = 1; id <= 20; id++) plan.see({ slice: slice(id, { home: 0 }), sinceMs: id, urgent: false });
  plan.see({ slice: slice(50, { home: 2 }), sinceMs: 999, urgent: false });
  expect(ids(plan.take(1000, (home) => home !== 0).add)).toEqual([50]);
  expect(plan.take(1000, everywhere).add).toHaveLength(7);
  for (let id = 1; id <= 7; id++) plan.failed(id as SliceId, "path", 1000);
  plan.failed(50 as SliceId, "slice", 1000);
  plan.pathRestored(1001);
  expect(ids(plan.take(1001, everywhere).add)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test("a slice that vanished from the queue is put in again, the second time under another job name", () => {
  const plan = new Plan(OPTIONS);
  plan.see({ slice: slice(1), sinceMs: 0, urgent: false });
  const groups: number[] = [];
  for (let nowMs = 0; groups.length < 4 && nowMs < 100_000; nowMs += 1000) {
    groups.push(...plan.take(nowMs, everywhere).add.map((job) => Number(job.name.split("-")[2])));
    plan.reconcile(new Set(), nowMs);
  }
  expect(groups).toEqual([0, 0, 1, 1]);
  plan.reconcile(new Set([1 as SliceId]), 100_000);
  plan.reconcile(new Set([1 as SliceId]), 200_000);
  expect(plan.take(200_000, everywhere).add).toEqual([]);
});

test("small slices share a job; urgent, large and failed ones have their own", () => {
  const plan = new Plan({ ...OPTIONS, windowSlices: 100, windowBytes: 1e9, pauseFirstMs: 1 });
  for (let id = 1; id <= 20; id++) plan.see({ slice: slice(id, { bytes: 1000 }), sinceMs: 5, urgent: false });
  plan.see({ slice: slice(30), sinceMs: 9, urgent: true });
  plan.see({ slice: slice(31, { bytes: 1024 * 1024 }), sinceMs: 5, urgent: false });
  plan.failed(3 as SliceId, "slice", 5);
  const jobs = plan.take(10, everywhere).add;
  expect(jobs.map(({ slices }) => slices.length)).toEqual([1, 2, 1, 16, 1, 1]);
  expect(jobs.map(({ name }) => name).slice(0, 3)).toEqual(["s-30-0", "s-1.1-0", "s-3-0"]);
  for (const job of jobs) expect(slicesOfJob(job.name)).toEqual(job.slices.map(({ id }) => id));
});

test("a complete walk drops slices that it did not name; one that broke off drops none", () => {
  const plan = new Plan(OPTIONS);
  plan.beginWalk();
  for (let id = 1; id <= 3; id++) plan.see({ slice: slice(id), sinceMs: id, urgent: false });
  plan.endWalk();
  plan.beginWalk();
  plan.see({ slice: slice(2), sinceMs: 2, urgent: false });
  plan.beginWalk();
  expect(plan.known).toBe(3);
  plan.see({ slice: slice(3), sinceMs: 3, urgent: false });
  plan.endWalk();
  expect(plan.known).toBe(1);
  expect(ids(plan.take(10, everywhere).add)).toEqual([3]);
});

test("slices beyond the plan's limit are added by a later walk", () => {
  const plan = new Plan({ ...OPTIONS, knownMax: 10 });
  plan.beginWalk();
  for (let id = 1; id <= 30; id++) plan.see({ slice: slice(id), sinceMs: id, urgent: false });
  plan.see({ slice: slice(31), sinceMs: 31, urgent: true });
  plan.endWalk();
  expect(plan.known).toBe(11);
  expect(plan.wantsWalk).toBe(false);
  for (let id = 1; id <= 6; id++) plan.forget(id as SliceId);
  expect(plan.wantsWalk).toBe(true);
});

type Event =
  | { do: "see"; id: number; home: number; bytes: number; urgent: boolean }
  | { do: "forget" | "copied" | "vanish"; id: number }
  | { do: "fail"; id: number; path: boolean }
  | { do: "take"; afterMs: number; down: number }
  | { do: "lose" }
  | { do: "walk" };

const id = fc.integer({ min: 1, max: 40 });
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("see" as const),
      id,
      home: fc.integer({ min: 0, max: 2 }),
      bytes: fc.integer({ min: 1, max: 900_000 }),
      urgent: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom("forget" as const, "copied" as const, "vanish" as const), id }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("fail" as const), id, path: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("take" as const),
      afterMs: fc.integer({ min: 0, max: 5000 }),
      down: fc.integer({ min: 0, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom<Event>({ do: "lose" }, { do: "walk" }) },
);

test("under any events nothing is forgotten, nothing is given twice, and the window holds", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 120 }), (events) => {
      const plan = new Plan(OPTIONS);
      const pending = new Map<number, { slice: Slice; done: boolean }>();
      const queue = new Map<number, CopyJob>();
      const named = new Set<string>();
      const held = () => new Set([...queue.keys()] as SliceId[]);
      let nowMs = 0;
      const take = (open: (home: RegionIndex) => boolean) => {
        const before = new Set(queue.keys());
        plan.reconcile(held(), nowMs);
        const { add, promote } = plan.take(nowMs, open);
        // The queue may have lost the job meanwhile: the plan finds out at a later reconcile.
        for (const job of promote) expect(named.has(job.name)).toBe(true);
        const given = ids(add);
        expect(new Set(given).size, "given twice at once").toBe(given.length);
        for (const job of add) {
          named.add(job.name);
          expect(slicesOfJob(job.name)).toEqual(job.slices.map((one) => one.id));
          expect(job.priority).toBeGreaterThan(0);
          expect(job.priority).toBeLessThan(2 ** 21);
          for (const one of job.slices) {
            expect(before.has(one.id), "given while it is in the queue").toBe(false);
            expect(pending.has(one.id), "given though it is not pending").toBe(true);
            expect(open(one.home), "given though its home does not answer").toBe(true);
            queue.set(one.id, job);
          }
        }
        const urgent = add.map((job) => job.priority === 1);
        expect(urgent, "urgent ones first").toEqual([...urgent].sort((a, b) => Number(b) - Number(a)));
        const ordinary = add.filter((job) => job.priority !== 1);
        if (ordinary.length > 0) expect(before.size + given.length).toBeLessThanOrEqual(OPTIONS.windowSlices);
      };
      for (const e of events) {
        if (e.do === "see") {
          const known = pending.get(e.id) ?? { slice: slice(e.id, e), done: false };
          pending.set(e.id, known);
          plan.see({ slice: known.slice, sinceMs: nowMs, urgent: e.urgent });
        } else if (e.do === "forget") {
          plan.forget(e.id as SliceId);
          pending.delete(e.id);
          queue.delete(e.id);
        } else if (e.do === "copied" && pending.has(e.id)) {
          plan.copied(e.id as SliceId);
          pending.get(e.id)!.done = true;
          queue.delete(e.id);
        } else if (e.do === "fail" && queue.has(e.id)) {
          plan.failed(e.id as SliceId, e.path ? "path" : "slice", nowMs);
          queue.delete(e.id);
        } else if (e.do === "vanish") queue.delete(e.id);
        else if (e.do === "lose") queue.clear();
        else if (e.do === "walk") {
          plan.beginWalk();
          for (const { slice } of pending.values()) plan.see({ slice, sinceMs: nowMs, urgent: false });
          plan.endWalk();
        } else if (e.do === "take") {
          nowMs += e.afterMs;
          take((home) => home !== e.down);
        }
        expect(plan.known).toBe(pending.size);
      }
      // Every home answers again and every job succeeds: all pending slices are given soon.
      const missing = new Set([...pending].filter(([, { done }]) => !done).map(([id]) => id));
      for (let step = 0; step < 200 && missing.size > 0; step++) {
        nowMs += 2000;
        take(everywhere);
        for (const id of queue.keys()) {
          plan.copied(id as SliceId);
          missing.delete(id);
        }
        queue.clear();
      }
      expect([...missing], "forgotten").toEqual([]);
    }),
    { numRuns: 400 },
  );
});
