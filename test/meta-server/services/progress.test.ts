import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Sequence } from "../../../core/ids.ts";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { RegionProgress } from "../../../meta-server/services/changelog/progress.ts";
import { RegionReports } from "../../../meta-server/services/changelog/region-reports.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("a round that fails does not end the progress of the mirrors", async () => {
  const internal = vi.fn();
  internal.mockRejectedValueOnce(new Error("no room"));
  internal.mockResolvedValue(undefined);
  const error = vi.fn();
  const context = {
    machine: {
      tree: {
        volume: { regions: [{ name: "aws" }, { name: "gcp" }] },
        regionProgress: () => ({ epoch: 16, sequence: 1 }),
      },
    },
    proposer: { internal },
    logger: { error },
    isServing: () => true,
  } as unknown as ServerContext;
  const reports = new RegionReports();
  reports.put("gcp", { epoch: 16 as never, sequence: 7 as Sequence }, []);
  const progress = new RegionProgress(context, reports);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(internal.mock.calls.length).toBeGreaterThan(2);
  expect(error).toHaveBeenCalledOnce();
  progress.close();
});
