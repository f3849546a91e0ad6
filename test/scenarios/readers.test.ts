import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { O_CREAT, O_RDONLY, O_WRONLY, World } from "../client/support/world.ts";

/** Bugs of other systems with readers of changing files: docs/TRACK_RECORD.md, scenarios 14 and 15. */
let world: World;
afterEach(() => world.stop());

function blocksOf(region: string): string[] {
  const bucket = join(world.dir, `bucket-${region}`, "test", "blocks");
  if (!existsSync(bucket)) return [];
  const all = readdirSync(bucket, { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

test("14: a block that is deleted while a client's cached chunk still names it costs a retry, not an EIO (juicefs#4012, #6000)", async () => {
  world = await World.start();
  const writer = await world.open();
  await writer.write("file", Buffer.alloc(50_000, "old"));
  const reader = await world.open();
  // This client receives no invalidations.
  reader.access.state.kernel.invalidate = () => {};
  const file = await reader.open("file", O_RDONLY);
  const old = blocksOf("aws");
  expect(old).toHaveLength(1);
  await writer.write("file", Buffer.alloc(50_000, "new"));
  for (const path of old) rmSync(path);
  expect((await file.read(0, 50_000)).equals(Buffer.alloc(50_000, "new"))).toBe(true);
  await file.close();
});

test("15: a reader of the end of a file that grows in another region sees the written bytes, never zeros (juicefs#5038)", async () => {
  world = await World.start(["aws", "gcp"]);
  const writer = await world.open("aws");
  const reader = await world.open("gcp");
  const file = await writer.open("log", O_CREAT | O_WRONLY);
  let size = 0;
  let seen = 0;
  const line = (at: number) => `${at} `.padEnd(at % 3 === 0 ? 9_000 : 100, "x");
  for (let at = 0; at < 30; at++) {
    await file.write(line(at), size);
    size += line(at).length;
    await file.fsync();
    const tail = await reader.read("log");
    expect(tail.length).toBe(size);
    expect(tail.includes(0)).toBe(false);
    seen = tail.length;
  }
  expect(seen).toBe(size);
  await file.close();
});
