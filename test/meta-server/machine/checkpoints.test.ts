import { expect, test } from "vitest";
import { CHECKPOINT_EVERY, Checkpoints } from "../../../meta-server/machine/checkpoints.ts";

const HOUR_MS = 3_600_000;
const put = () => {};

function checkpointsOf(madeMs: number): Checkpoints {
  const checkpoints = new Checkpoints();
  checkpoints.addGenesis(madeMs, put);
  const state = { epoch: 16, stateHash: "", logBytes: 1000 };
  const at = { index: 300, sequence: CHECKPOINT_EVERY, atMs: madeMs + HOUR_MS };
  checkpoints.add({ ...state, ...at }, put);
  return checkpoints;
}

test.each([
  ["within the bounds the log is kept from its beginning for a mirror that has not reached the first checkpoint", 3, 0],
  ["past the bounds it is not", 25, 300],
])("%s", (_, ageHours, from) => {
  const madeMs = Date.now() - ageHours * HOUR_MS;
  const bounds = { hours: 24, gib: 1, nowMs: Date.now(), logBytes: 2000, pinned: Number.POSITIVE_INFINITY };
  expect(checkpointsOf(madeMs).retainFrom(17, bounds, put)).toBe(from);
});
