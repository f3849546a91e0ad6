import { expect, test } from "vitest";
import type { EpochCode, Sequence, Version } from "../../../core/ids.ts";
import {
  type Asked,
  afterLeadership,
  askedFor,
  commitCondition,
  type Place,
  PROOFS,
  type Proof,
  tokenCondition,
} from "../../../meta-server/services/metadata/read-rules.ts";
import { Freshness } from "../../../proto/generated/metadata.ts";

const at = (sequence: number, epoch = 16): Version => ({
  epoch: epoch as EpochCode,
  sequence: sequence as Sequence,
});

test.each<[Place, Asked, Proof]>([
  ["not-leader", "committed", "none"],
  ["not-leader", "token", "none"],
  ["unformatted", "committed", "leadership"],
  ["unformatted", "token", "leadership"],
  ["primary", "committed", "leadership"],
  ["primary", "token", "leadership"],
  ["sealed", "committed", "next epoch"],
  ["sealed", "token", "leadership"],
  ["fenced", "committed", "primary's commit"],
  ["fenced", "token", "token"],
  ["mirror", "committed", "primary's commit"],
  ["mirror", "token", "token"],
])("at %s, a read of %s freshness needs: %s", (place, asked, proof) => {
  expect(PROOFS[place][asked]).toBe(proof);
});

test("every freshness but a token counts as committed", () => {
  expect([Freshness.TOKEN, Freshness.COMMITTED, 99 as Freshness].map(askedFor)).toEqual([
    "token",
    "committed",
    "committed",
  ]);
});

test.each([
  ["that leads answers", true, at(5), false, "read"],
  ["whose epoch may have ended says so", true, at(5), true, "unreachable"],
  ["that is behind the client's token says so", true, at(6), true, "behind"],
  ["that is behind the client's epoch says so", true, at(1, 32), false, "behind"],
  ["whose group does not confirm it sends the client away", false, at(6), true, "not-leader"],
])("a primary %s", (_, confirmed, atLeast, mayBeDeposed, passage) => {
  expect(afterLeadership({ version: at(5), mayBeDeposed }, confirmed, atLeast)).toBe(passage);
});

test("a read without a token does not wait for the client's version", () => {
  expect(afterLeadership({ version: at(0), mayBeDeposed: false }, true, undefined)).toBe("read");
  expect(tokenCondition(undefined)).toEqual({ applied: undefined, isAwaited: true, passage: "read" });
  expect(commitCondition(undefined, undefined).applied).toBeUndefined();
});

test("a mirror waits for the newer of the primary's commit and the client's token", () => {
  expect(tokenCondition(at(7))).toEqual({ applied: at(7), isAwaited: true, passage: "read" });
  expect(commitCondition(at(9), at(7))).toEqual({ applied: at(9), isAwaited: true, passage: "read" });
  expect(commitCondition(at(9), at(7, 32))).toEqual({ applied: at(7, 32), isAwaited: true, passage: "read" });
  expect(commitCondition(at(9), undefined)).toEqual({ applied: at(9), isAwaited: true, passage: "read" });
});

test("without the primary a mirror reads what it has, and does not wait for a token that it lacks", () => {
  expect(commitCondition(undefined, at(7))).toEqual({ applied: at(7), isAwaited: false, passage: "unreachable" });
});
