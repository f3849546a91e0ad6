import { EventEmitter } from "node:events";
import { expect, test, vi } from "vitest";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { FollowStream } from "../../../meta-server/services/changelog/follow-stream.ts";
import { RegionReports } from "../../../meta-server/services/changelog/region-reports.ts";

test("a mirror's stream that cannot be opened is ended, and the reason is logged", async () => {
  const release = vi.fn();
  const error = vi.fn();
  const context = {
    volume: { volume: "test" },
    region: "aws",
    member: 1,
    group: { leading: true, firstIndex: 1, readLog: () => Promise.reject(new Error("the log is broken")) },
    machine: {
      tree: { volume: { uuid: "u" }, version: { epoch: 16, sequence: 9 }, epoch: () => ({ first: 1 }) },
      version: { epoch: 16, sequence: 9 },
      primary: "aws",
      appliedIndex: 9,
      pin: () => release,
      checkpoints: { before: () => ({ index: 0, epoch: 0, sequence: 0 }) },
    },
    logger: { error },
  } as unknown as ServerContext;
  const stream = Object.assign(new EventEmitter(), { write: vi.fn(), end: vi.fn() });
  const onEnd = vi.fn();
  new FollowStream(context, stream as never, { reports: new RegionReports(), isPrimary: () => true, onEnd });
  const hello = { volume: "test", uuid: "u", region: "gcp", from: { epoch: 16, sequence: 5 }, stateHash: "" };
  stream.emit("data", { hello, report: undefined, readIndex: [] });
  await vi.waitFor(() => expect(onEnd).toHaveBeenCalledOnce());
  expect(stream.end).toHaveBeenCalledOnce();
  expect(release, "the log is not kept for it").toHaveBeenCalled();
  expect(error.mock.calls[0]![0]).toEqual(new Error("the log is broken"));
});
