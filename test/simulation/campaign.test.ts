import { expect, test } from "vitest";
import { lacking } from "./campaign.ts";
import { FAULT_NAMES } from "./profile.ts";

const plenty = Object.fromEntries([
  ...FAULT_NAMES.map((name) => [`hit:${name}`, 1_000]),
  ...["elections", "switchovers", "promotions", "memberChanges", "leases", "locks", "lost", "collected"].map((name) => [
    name,
    10_000,
  ]),
  ["mirrorReads", 100_000],
  ["operations", 1_000_000],
  ["undecided", 0],
]);

test("a campaign that has seen enough of everything lacks nothing", () => {
  expect(lacking(plenty, 2_000)).toEqual([]);
});

test.each([...FAULT_NAMES.map((name) => `hit:${name}`), "switchovers", "promotions", "memberChanges", "mirrorReads"])(
  "a campaign without %s shows too little",
  (name) => {
    expect(lacking({ ...plenty, [name]: 1 }, 2_000)).toEqual([expect.stringContaining(`too little of ${name}`)]);
    const { [name]: _, ...without } = plenty;
    expect(lacking(without, 2_000)).toHaveLength(1);
    expect(lacking(without, 20)).toEqual([]); // of so few seeds nothing is asked
  },
);

test("a search that has not ended fails the shortest campaign", () => {
  expect(lacking({ ...plenty, undecided: 1 }, 1)).toEqual([expect.stringContaining("have not ended")]);
});
