import { describe, expect, test } from "vitest";
import { chainOf, forkOf, type History } from "../../core/chain.ts";
import { type EpochCode, epochCode, NO_VERSION, type RegionIndex, type Sequence } from "../../core/ids.ts";
import { NO_SESSION_ID, World } from "./world.ts";

const A = 0 as RegionIndex;
const B = 1 as RegionIndex;
const C = 2 as RegionIndex;
const version = (epoch: EpochCode, sequence: number) => ({ epoch, sequence: sequence as Sequence });

/** A history, from the last sequence of each of its epochs. */
function history(...ends: (readonly [number, RegionIndex, number])[]): History {
  const versions = ends.map(([number, region, sequence]) => version(epochCode(number, region), sequence));
  const chain = versions.map(({ epoch }, at) => ({ epoch, previous: versions[at - 1] ?? NO_VERSION }));
  return { chain, version: versions.at(-1)! };
}

describe("two histories part at the last version that both have", () => {
  test.each<[what: string, one: History, other: History, fork: readonly [number, RegionIndex, number]]>([
    ["one continues the other", history([1, A, 100]), history([1, A, 100], [2, B, 120]), [1, A, 100]],
    ["one continues the epoch", history([1, A, 100]), history([1, A, 80], [16, B, 90]), [1, A, 80]],
    [
      "two began epochs from different versions: it is the earlier of the two partings",
      history([1, A, 100], [16, C, 130]),
      history([1, A, 80], [2, B, 120]),
      [1, A, 80],
    ],
    [
      "one has epochs between that the other has not",
      history([1, A, 40], [5, C, 100], [16, C, 110]),
      history([1, A, 60], [3, B, 70], [7, B, 120]),
      [1, A, 40],
    ],
    [
      "they share more than the first",
      history([1, A, 9], [2, B, 20], [16, C, 30]),
      history([1, A, 9], [2, B, 25]),
      [2, B, 20],
    ],
  ])("%s", (_, one, other, [number, region, sequence]) => {
    const fork = version(epochCode(number, region), sequence);
    expect([forkOf(one, other), forkOf(other, one)]).toEqual([fork, fork]);
  });

  test("two volumes share nothing", () => {
    expect(forkOf(history([1, A, 9]), history([1, B, 9]))).toEqual(NO_VERSION);
  });
});

test("a state's chain names each epoch, the version before it, and how it began", () => {
  const world = new World();
  const { version: first } = world.tree;
  const epoch = epochCode(2, A);
  world.must({ kind: "beginEpoch", epoch, how: "counters" }, { session: NO_SESSION_ID });
  expect(chainOf(world.tree)).toEqual([
    { epoch: first.epoch, first: 1, previous: NO_VERSION, how: "format" },
    { epoch, first: first.sequence + 1, previous: first, how: "counters" },
  ]);
});
