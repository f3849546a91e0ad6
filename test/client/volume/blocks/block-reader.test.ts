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
