import { EventEmitter } from "node:events";
import { expect, test, vi } from "vitest";
import { encodeConfiguration, firstConfiguration } from "../../../consensus/raft/configuration.ts";
import { receiveSnapshot } from "../../../consensus/transport/snapshot-stream.ts";
import type { SnapshotFrame } from "../../../proto/generated/raft.ts";

test("of a snapshot whose part fails, what was sent after it is neither taken nor counted as refused", async () => {
  const write = vi.fn();
  const end = vi.fn();
  const call = Object.assign(new EventEmitter(), { writable: true, write, end });
  const take = vi
    .fn()
    .mockResolvedValueOnce(undefined)
    .mockRejectedValueOnce(new Error("another member is the leader"));
  const intake = { at: 0, take, finish: vi.fn(), disconnected: vi.fn() };
  const onRefused = vi.fn();
  receiveSnapshot(call as never, () => intake, onRefused);
  const configuration = encodeConfiguration(firstConfiguration([{ id: 1, address: "a:1" }])) as Buffer;
  const begin = {
    hello: undefined,
    term: 1,
    at: { index: 1, term: 1 },
    configuration,
    configurationIndex: 0,
    transfer: 1,
  };
  const send = (body: SnapshotFrame["body"]) => call.emit("data", { body });
  send({ $case: "begin", value: begin });
  for (let part = 0; part < 4; part += 1) send({ $case: "part", value: Buffer.from("part") });
  send({ $case: "end", value: { parts: 4 } });
  await new Promise((resolve) => setImmediate(resolve));
  expect(take).toHaveBeenCalledTimes(2);
  expect(intake.finish).not.toHaveBeenCalled();
  expect(onRefused.mock.calls).toEqual([[new Error("another member is the leader")]]);
  expect(write.mock.calls.filter(([{ refusal }]) => refusal !== "")).toHaveLength(1);
  expect([intake.disconnected.mock.calls.length, end.mock.calls.length]).toEqual([1, 1]);
});
