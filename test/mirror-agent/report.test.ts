import pino from "pino";
import { expect, test } from "vitest";
import type { SliceId } from "../../core/ids.ts";
import { Reporter } from "../../mirror-agent/report.ts";
import { until } from "../support/until.ts";

function reporter(
  send: (resident: readonly SliceId[], failed: readonly { id: number }[]) => Promise<void>,
  batchMs = 20,
) {
  const acknowledged: SliceId[] = [];
  const made = new Reporter({
    send,
    acknowledged: (slices) => void acknowledged.push(...slices),
    logger: pino({ level: "silent" }),
    batchMs,
    batchSlices: 4,
  });
  return { made, acknowledged };
}

const id = (n: number) => n as SliceId;
const failure = (n: number, attempts = 1) => ({ id: n, reason: "no", attempts, parked: true });

test("a report is sent again until it is acknowledged, and counts as unacknowledged until then", async () => {
  let sent = 0;
  const { made, acknowledged } = reporter(async () => {
    if (++sent < 3) throw new Error("not the leader");
  });
  made.resident(id(1));
  await until("sent once", () => sent === 1);
  expect(acknowledged).toEqual([]);
  expect(made.unacknowledged).toBe(1);
  await until("acknowledged", () => made.unacknowledged === 0);
  expect(acknowledged).toEqual([1]);
  expect(sent).toBe(3);
});

test("reports in batches, a full one at once, and loses nothing that arrives meanwhile", async () => {
  const batches: number[] = [];
  const { made, acknowledged } = reporter(async (resident) => {
    batches.push(resident.length);
    if (batches.length === 1) for (let n = 10; n < 16; n++) made.resident(id(n));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }, 1_000);
  for (let n = 0; n < 4; n++) made.resident(id(n));
  await until("sent at once", () => batches[0] === 4, 500);
  await until("all", () => acknowledged.length === 10);
  expect(Math.max(...batches)).toBe(4);
});

test("the last report about a slice replaces earlier ones", async () => {
  const reports: unknown[] = [];
  const { made } = reporter(
    async (resident, failed) => void reports.push([...resident, ...failed.map((one) => -one.id)]),
  );
  made.failed(failure(1));
  made.failed(failure(1, 2));
  made.failed(failure(2));
  made.resident(id(2));
  await until("sent", () => made.unacknowledged === 0);
  expect(reports).toEqual([[2, -1]]);
});

test("close sends what is left, for a bounded time", async () => {
  const sent: number[] = [];
  const quick = reporter(async (resident) => void sent.push(...resident));
  quick.made.resident(id(1));
  await quick.made.close(1_000);
  expect(sent).toEqual([1]);
  const stuck = reporter(() => Promise.reject(new Error("never")));
  stuck.made.resident(id(1));
  const began = Date.now();
  await stuck.made.close(200);
  expect(Date.now() - began).toBeLessThan(10_000);
  expect(stuck.acknowledged).toEqual([]);
});
