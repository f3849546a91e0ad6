import { expect, test } from "vitest";
import { MemberAddresses } from "../../config/member-addresses.ts";
import type { RegionStatus } from "../../proto/generated/admin.ts";

const status = (isLeader: boolean, members: Record<number, string>) =>
  ({
    isLeader,
    members: Object.entries(members).map(([id, address]) => ({ id: Number(id), address })),
  }) as RegionStatus;

test("the file's address takes precedence; added members are learnt from the group, removed ones forgotten", () => {
  const addresses = new MemberAddresses({ meta: ["near:1", "-", "near:3"] });
  expect(addresses.all).toEqual(["near:1", "near:3"]);
  addresses.learn(status(true, { 1: "far:1", 3: "far:3", 4: "far:4" }));
  expect(addresses.all).toEqual(["near:1", "near:3", "far:4"]);
  expect([addresses.of(1), addresses.of(2), addresses.of(4)]).toEqual(["near:1", undefined, "far:4"]);
  addresses.learn(status(false, { 1: "far:1", 2: "far:2" })); // from a member that may have been removed
  expect(addresses.of(2)).toBeUndefined();
  addresses.learn(status(true, { 3: "far:3", 5: "far:5" }));
  expect(addresses.all).toEqual(["near:1", "near:3", "far:5"]);
});
