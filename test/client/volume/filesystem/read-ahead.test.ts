import { expect, test } from "vitest";
import { ReadAhead } from "../../../../client/volume/filesystem/read-ahead.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

test("the window grows with sequential reads, up to the limit", () => {
  const ahead = new ReadAhead(32 * MIB);
  const ranges = [];
  for (let offset = 0; offset < 128 * MIB; offset += MIB) {
    const range = ahead.next(offset, MIB);
    if (range !== undefined) ranges.push(range);
  }
  expect(ranges[0]).toEqual({ from: 2 * MIB, to: 10 * MIB });
  for (const [index, { from }] of ranges.entries()) if (index > 0) expect(from).toBe(ranges[index - 1]!.to);
  expect(ranges.at(-1)!.to).toBeGreaterThan(128 * MIB);
  expect(Math.max(...ranges.map(({ from, to }) => to - from))).toBeLessThanOrEqual(32 * MIB);
});

test("nothing is prefetched after a seek", () => {
  const ahead = new ReadAhead(32 * MIB);
  for (const offset of [0, 900 * MIB, 10 * MIB, 500 * MIB, 40 * MIB])
    expect(ahead.next(offset, 4 * KIB)).toBeUndefined();
});

test("the kernel's own readahead, whose requests arrive out of order, counts as sequential", () => {
  const ahead = new ReadAhead(32 * MIB);
  for (const offset of [0, 256, 128, 384]) ahead.next(offset * KIB, 128 * KIB);
  expect(ahead.next(512 * KIB, 128 * KIB) ?? "fetched before").toBeDefined();
  let fetched = 0;
  for (let at = 640; at < 20_000; at += 128) fetched += ahead.next(at * KIB, 128 * KIB) === undefined ? 0 : 1;
  expect(fetched).toBeGreaterThan(0);
});
