import { expect, test } from "vitest";
import { RegionFacts } from "../../../meta-server/machine/region-facts.ts";

test("an epoch's first loss report stays, and gives way only to that of a later epoch", () => {
  const pairs = new Map<string, Uint8Array>();
  const facts = new RegionFacts({
    get: (key) => pairs.get(key),
    put: (key, value) => (value === undefined ? pairs.delete(key) : pairs.set(key, value)),
  });
  facts.keepLossReport({ epoch: 257, text: "of the promotion" });
  facts.keepLossReport({ epoch: 257, text: "of the epoch keeper, at the same time" });
  expect(facts.lossReport?.text).toBe("of the promotion");
  facts.keepLossReport({ epoch: 512, text: "of the next promotion" });
  expect(facts.lossReport?.text).toBe("of the next promotion");
});
