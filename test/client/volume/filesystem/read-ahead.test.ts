import { expect, test, vi } from "vitest";
import { BlockCache } from "../../../../client/volume/blocks/block-cache.ts";
import type { BlockService } from "../../../../client/volume/blocks/block-service.ts";
import { Pins } from "../../../../client/volume/blocks/pins.ts";
import { ReadAhead, ReadAheadBudget } from "../../../../client/volume/filesystem/read-ahead.ts";
import { BLOCK_BYTES, type RegionIndex, type SliceId } from "../../../../core/ids.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const alone = () => new ReadAhead(new ReadAheadBudget({ bytesMax: 64 * MIB, eachBytesMax: 32 * MIB }));

test("the window grows with sequential reads, up to the limit", () => {
  const ahead = alone();
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
  const ahead = alone();
  for (const offset of [0, 900 * MIB, 10 * MIB, 500 * MIB, 40 * MIB])
    expect(ahead.next(offset, 4 * KIB)).toBeUndefined();
});

test("the kernel's own readahead, whose requests arrive out of order, counts as sequential", () => {
  const ahead = alone();
  for (const offset of [0, 256, 128, 384]) ahead.next(offset * KIB, 128 * KIB);
  expect(ahead.next(512 * KIB, 128 * KIB) ?? "fetched before").toBeDefined();
  let fetched = 0;
  for (let at = 640; at < 20_000; at += 128) fetched += ahead.next(at * KIB, 128 * KIB) === undefined ? 0 : 1;
  expect(fetched).toBeGreaterThan(0);
});

/** Reads `files` of 64 MiB each at the same time, 1 MiB after the other. Answers how many blocks were fetched. */
async function blocksFetched(files: number, readers: (file: number) => ReadAhead): Promise<number> {
  let fetched = 0;
  const service: Partial<BlockService> = {
    async read() {
      fetched += 1;
      return { missingInOwn: false, corruptIn: [], from: "disk" };
    },
  };
  const events = { onMissing() {}, onCorrupt() {} };
  const cache = new BlockCache(service as BlockService, { bytesMax: 128 * MIB, timeoutMs: 1000, events });
  const slices = Array.from({ length: files }, (_, file) => ({
    ...{ id: (file + 1) as SliceId, bytes: 64 * MIB, home: 0 as RegionIndex, crc32c: Array<number>(16).fill(0) },
    ahead: readers(file),
  }));
  for (let offset = 0; offset < 64 * MIB; offset += MIB) {
    for (const slice of slices) {
      const pins = new Pins();
      await cache.get(slice, Math.floor(offset / BLOCK_BYTES), pins);
      pins.releaseSoon();
      const { from, to } = slice.ahead.next(offset, MIB) ?? { from: 0, to: 0 };
      for (let at = from; at < Math.min(to, slice.bytes); at += BLOCK_BYTES)
        cache.prefetch(slice, Math.floor(at / BLOCK_BYTES));
    }
    await new Promise(setImmediate);
  }
  return fetched;
}

test("many sequential readers share one budget: no block is evicted before it is read (defect 11)", async () => {
  for (const files of [4, 8, 12]) {
    const budget = new ReadAheadBudget({ bytesMax: 64 * MIB, eachBytesMax: 32 * MIB });
    expect(await blocksFetched(files, () => new ReadAhead(budget)), `${files} readers`).toBe(files * 16);
  }
});

test("a reader that seeks, is closed or has been idle leaves its share to the others (defect 11)", () => {
  vi.useFakeTimers();
  try {
    const budget = new ReadAheadBudget({ bytesMax: 32 * MIB, eachBytesMax: 32 * MIB });
    const readers = Array.from({ length: 4 }, () => new ReadAhead(budget));
    for (const reader of readers) for (const offset of [0, MIB]) reader.next(offset, MIB);
    const [first, seeks, closed] = readers;
    expect(budget.shareOf(first!)).toBe(8 * MIB);
    seeks!.next(900 * MIB, MIB);
    closed!.close();
    expect(budget.shareOf(first!)).toBe(16 * MIB);
    vi.advanceTimersByTime(11_000);
    expect(budget.shareOf(first!)).toBe(32 * MIB);
  } finally {
    vi.useRealTimers();
  }
});
