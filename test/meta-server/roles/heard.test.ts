import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { EpochCode, Sequence, Version } from "../../../core/ids.ts";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { FollowSession, type FollowSessionEvents } from "../../../meta-server/roles/follower/follow-session.ts";
import { Follower } from "../../../meta-server/roles/follower/follower.ts";
import { FollowAnswer } from "../../../proto/generated/changelog.ts";

vi.mock("../../../meta-server/roles/follower/follow-session.ts", () => ({
  FollowSession: vi.fn(function (this: object) {
    return Object.assign(this, { ended: new Promise(() => {}), close: () => {}, ask: () => true });
  }),
}));

const version = (epoch: number, sequence: number): Version => ({
  epoch: epoch as EpochCode,
  sequence: sequence as Sequence,
});

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("what a primary of a later epoch has committed is recorded, also below this region's own sequence", async () => {
  const local = vi.fn(() => Promise.resolve(true));
  const machine = { version: version(16, 100), role: "mirror", facts: { heard: version(16, 100) }, onTurn: () => {} };
  const logger = { info: () => {} };
  const context = { machine, group: { leading: true }, proposer: { local }, volume: {}, region: "gcp", logger };
  const status = { role: "primary", version: version(32, 90), epochRegion: "aws" };
  const regions = { askAll: async () => new Map([["aws", status]]), leaderAddress: () => "aws:1" };
  const options = { regions: regions as never, openOrphans: () => [] };
  const follower = new Follower(context as unknown as ServerContext, options);
  await vi.advanceTimersByTimeAsync(10);
  const events = vi.mocked(FollowSession).mock.calls[0]![2] as FollowSessionEvents;
  events.onWelcome({ answer: FollowAnswer.FOLLOWING, message: "", version: undefined });
  events.onHeard(version(32, 90));
  await vi.advanceTimersByTimeAsync(1_100);
  expect(local.mock.calls).toEqual([[{ kind: "heard", version: version(32, 90) }]]);
  follower.close();
});
