import fc from "fast-check";
import { expect, test } from "vitest";
import {
  COUNTER_LIMIT,
  EPOCH_NUMBER_MAX,
  epochCode,
  epochNumber,
  epochRegion,
  idInEpoch,
  idOrigin,
  type RegionIndex,
} from "../../core/ids.ts";
import { keyId, sliceKey } from "../../core/keys.ts";
import { NO_SESSION_ID, ROOT_INODE, World } from "./world.ts";

const region = (index: number) => index as RegionIndex;

test("ids of two epochs never meet, at the counter's ends either: neither of two numbers nor of two regions", () => {
  const codes = [1, 2, 3, EPOCH_NUMBER_MAX].flatMap((number) =>
    [0, 1, 15].map((index) => epochCode(number, region(index))),
  );
  const ends = codes.flatMap((epoch) => [idInEpoch(epoch, 1), idInEpoch(epoch, COUNTER_LIMIT - 1)]);
  expect(ends).toEqual([...ends].sort((a, b) => a - b));
  expect(new Set(ends).size).toBe(ends.length);
  expect(ends.at(-1)).toBe(2 ** 47 - 1);
  const next = epochCode(1, region(1));
  expect(idInEpoch(next, 0) - idInEpoch(epochCode(1, region(0)), COUNTER_LIMIT - 1)).toBe(1);
});

test("an id says who allocated it, and keeps all of its bits in keys", () => {
  const shard = fc.nat(63);
  const epoch = fc.nat(2 ** 17 - 1);
  const counter = fc.nat(2 ** 30 - 1);
  fc.assert(
    fc.property(shard, epoch, counter, (shard, epoch, counter) => {
      const id = shard * 2 ** 47 + epoch * 2 ** 30 + counter;
      expect(Number.isSafeInteger(id)).toBe(true);
      expect(idOrigin(id)).toEqual({ shard, epoch, counter });
      expect(keyId(sliceKey(id as never))).toBe(id);
      if (shard === 0) expect(idInEpoch(epoch as never, counter)).toBe(id);
    }),
  );
  const { epoch: code } = idOrigin(idInEpoch(epochCode(8_000, region(9)), 5));
  expect([epochNumber(code), epochRegion(code)]).toEqual([8_000, 9]);
});

test("at its end a counter gives no more ids, and the next epoch starts with ids of its own", () => {
  const world = new World();
  const { volume } = world.tree;
  world.tree.putVolume({ ...volume!, nextInode: COUNTER_LIMIT - 1, nextSlice: COUNTER_LIMIT - 2 });
  const [file, slice] = [world.make(ROOT_INODE, "last"), world.grant(2)];
  expect(world.errorOf({ kind: "grantSlices", count: 1 })).toBe("ENOSPC");
  world.must({ kind: "seal", to: region(1) }, { session: NO_SESSION_ID });
  const epoch = epochCode(2, region(1));
  world.must({ kind: "beginEpoch", epoch, how: "sealed" }, { session: NO_SESSION_ID });
  expect(idOrigin(file)).toEqual({ shard: 0, epoch: epochCode(1, region(0)), counter: COUNTER_LIMIT - 1 });
  expect(idOrigin(world.make(ROOT_INODE, "first"))).toEqual({ shard: 0, epoch, counter: 1 });
  expect(idOrigin(world.grant(1))).toEqual({ shard: 0, epoch, counter: 1 });
  expect(slice + 1).toBeLessThan(idInEpoch(epoch, 0));
});
