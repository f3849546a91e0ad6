import { EventEmitter } from "node:events";
import { expect, test, vi } from "vitest";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { FollowStream } from "../../../meta-server/services/changelog/follow-stream.ts";
import { RegionReports } from "../../../meta-server/services/changelog/region-reports.ts";
import { FollowAnswer } from "../../../proto/generated/changelog.ts";

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
  new FollowStream(context, stream as never, {
    reports: new RegionReports(),
    isServing: () => true,
    mayFeed: () => true,
    onSeen: () => {},
    onEnd,
  });
  const hello = { volume: "test", uuid: "u", region: "gcp", from: { epoch: 16, sequence: 5 }, stateHash: "" };
  stream.emit("data", { hello, report: undefined, readIndex: [] });
  await vi.waitFor(() => expect(onEnd).toHaveBeenCalledOnce());
  expect(stream.end).toHaveBeenCalledOnce();
  expect(release, "the log is not kept for it").toHaveBeenCalled();
  expect(error.mock.calls[0]![0]).toEqual(new Error("the log is broken"));
});

test("a mirror that parted from the history is refused with the earlier of the two partings", async () => {
  // Region 0 had epoch 1; region 1 began its epoch 2 after 80 of it, unheard, and this region its epoch 16 after 100.
  const [first, unheard, present] = [16, 33, 258];
  const none = { epoch: 0, sequence: 0 };
  const records = new Map([
    [first, { first: 1, previous: none }],
    [present, { first: 101, previous: { epoch: first, sequence: 100 } }],
  ]);
  const version = { epoch: present, sequence: 130 };
  const context = {
    volume: { volume: "test" },
    region: "here",
    group: { leading: true },
    machine: {
      tree: { volume: { uuid: "u" }, version, epoch: (code: number) => records.get(code) },
      version,
      primary: "here",
      pin: () => () => {},
    },
  } as unknown as ServerContext;
  const stream = Object.assign(new EventEmitter(), { write: vi.fn(), end: vi.fn() });
  new FollowStream(context, stream as never, {
    reports: new RegionReports(),
    isServing: () => true,
    mayFeed: () => true,
    onSeen: () => {},
    onEnd: () => {},
  });
  const chain = [
    { epoch: first, first: 1, previous: none, how: "format" },
    { epoch: unheard, first: 81, previous: { epoch: first, sequence: 80 }, how: "sealed" },
  ];
  const hello = { volume: "test", uuid: "u", region: "there", from: { epoch: unheard, sequence: 120 }, chain };
  stream.emit("data", { hello, report: undefined, readIndex: [] });
  await vi.waitFor(() => expect(stream.write).toHaveBeenCalled());
  const { welcome } = stream.write.mock.calls[0]![0];
  expect(welcome).toMatchObject({ answer: FollowAnswer.FORKED, version: { epoch: first, sequence: 80 } });
  expect(welcome.message).toContain("departs from it after epoch 1 sequence 80");
});
