import { expect, test } from "vitest";
import { crc32c } from "../../../../base/crc32c.ts";
import { BlockReader } from "../../../../client/volume/blocks/block-reader.ts";
import type { RegionIndex, SliceId } from "../../../../core/ids.ts";
import { type ObjectStore, ObjectStoreError } from "../../../../object-store/object-store.ts";

const data = new Uint8Array(5000).map((_, index) => index % 256);
const block = {
  slice: 9 as SliceId,
  index: 0,
  bytes: data.length,
  crc32c: crc32c(data),
  home: 1 as RegionIndex,
  timeoutMs: 400,
};

type Behaviour = "has" | "lacks" | "wrong" | "down";

function reader(...behaviours: Behaviour[]) {
  const asked: number[] = [];
  const current = [...behaviours];
  const sources = behaviours.map((_, region) => ({
    region: region as RegionIndex,
    local: true,
    store: {
      async read() {
        asked.push(region);
        if (current[region] === "lacks") throw new ObjectStoreError("notFound", "not there");
        if (current[region] === "down") throw new ObjectStoreError("unavailable", "down");
        return current[region] === "wrong" ? data.map((byte) => byte ^ 1) : data;
      },
      async head() {
        if (current[region] === "down") throw new ObjectStoreError("unavailable", "down");
        return current[region] === "has" ? { bytes: data.length, crc32c: undefined } : undefined;
      },
    } as unknown as ObjectStore,
  }));
  return { asked, current, reader: new BlockReader("v", 0 as RegionIndex, sources, undefined) };
}

test("the own bucket comes first, then the home, then the others", async () => {
  const own = reader("has", "has", "has");
  expect(await own.reader.read(block)).toMatchObject({ from: 0, missingInOwn: false });
  expect(own.asked).toEqual([0]);
  const home = reader("lacks", "has", "has");
  expect(await home.reader.read(block)).toMatchObject({ from: 1, missingInOwn: true });
  const other = reader("lacks", "lacks", "has");
  expect(await other.reader.read(block)).toMatchObject({ from: 2, missingInOwn: true });
});

test("No byte reaches an application that does not match the checksum that the metadata states; another copy is read, or none", async () => {
  const other = reader("wrong", "has");
  const answer = await other.reader.read(block);
  expect(answer).toMatchObject({ from: 1, corruptIn: [0] });
  expect(answer.data).toEqual(data);
  const none = reader("wrong", "lacks");
  expect(await none.reader.read(block)).toMatchObject({ failure: "corrupt", corruptIn: [0] });
});

test("a block that every bucket lacks fails at once; a bucket that does not answer is waited for", async () => {
  const gone = reader("lacks", "lacks");
  expect(await gone.reader.read(block)).toMatchObject({ failure: "missing" });
  const down = reader("lacks", "down");
  const startMs = performance.now();
  expect(await down.reader.read(block)).toMatchObject({ failure: "unreachable" });
  expect(performance.now() - startMs).toBeGreaterThan(100);
});

test("EIO does not stay after the bucket is back (juicefs#5963)", async () => {
  const { reader: blocks, current } = reader("down", "down");
  setTimeout(() => {
    current[1] = "has";
  }, 80);
  expect(await blocks.read(block)).toMatchObject({ from: 1 });
});

test("a dead bucket is waited for once, and not for each block; what it has is read again when it is back (defect 27)", async () => {
  const { reader: blocks, current, asked } = reader("lacks", "down");
  const reads = async (count: number) => {
    const startMs = performance.now();
    const answers = await Promise.all(Array.from({ length: count }, () => blocks.read(block)));
    return {
      answers: new Set(answers.map(({ failure, from }) => failure ?? from)),
      tookMs: performance.now() - startMs,
    };
  };
  const first = await reads(1);
  expect(first.answers).toEqual(new Set(["unreachable"]));
  expect(first.tookMs).toBeGreaterThan(100);
  // Also a reader that comes in the middle waits no longer than until the bucket has been down for as long as that.
  await new Promise((resolve) => setTimeout(resolve, block.timeoutMs));
  asked.length = 0;
  const later = await reads(100);
  expect(later.answers).toEqual(new Set(["unreachable"]));
  expect(later.tookMs).toBeLessThan(100);
  expect(asked.every((region) => region === 0)).toBe(true);

  current[1] = "has";
  await expect.poll(async () => (await reads(1)).answers, { timeout: 5000 }).toEqual(new Set([1]));
  expect((await reads(1)).tookMs).toBeLessThan(100);
});

test("a bucket that failed and has answered since is waited for again, however long ago it failed (defect 27)", async () => {
  const { reader: blocks, current } = reader("has", "down");
  await blocks.read(block);
  current[0] = "lacks";
  expect(await blocks.read(block)).toMatchObject({ failure: "unreachable" });
  current[1] = "lacks";
  await expect.poll(async () => (await blocks.read(block)).failure, { timeout: 5000 }).toBe("missing");
  current[1] = "down";
  const reading = blocks.read(block);
  await new Promise((resolve) => setTimeout(resolve, 100));
  current[1] = "has";
  expect(await reading).toMatchObject({ from: 1 });
});
