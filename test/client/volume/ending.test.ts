import { rmSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { type Disk, O_CREAT, O_WRONLY, World } from "../support/world.ts";

/** A mount, and what its log says was lost. */
async function opened(world: World): Promise<{ disk: Disk; lost: () => object[] }> {
  const lines: string[] = [];
  const disk = await world.open("aws", {}, pino({ level: "error" }, { write: (line) => lines.push(line) }));
  return { disk, lost: () => lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg.startsWith("lost: ")) };
}

async function timed(work: Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work;
  return performance.now() - startMs;
}

/** Two files that are written, open and not committed. */
async function writeTwo(disk: Disk): Promise<void> {
  await disk.mkdir("logs");
  const small = await disk.open("logs/small", O_CREAT | O_WRONLY);
  const large = await disk.open("logs/large", O_CREAT | O_WRONLY);
  await small.write("hello");
  await large.write(Buffer.alloc(100_000, "x"));
}

test("a mount that ends commits what was written and not closed", async () => {
  const world = await World.start();
  const { disk, lost } = await opened(world);
  await writeTwo(disk);
  await disk.access.close();
  expect(lost()).toEqual([]);
  const later = await world.open();
  expect(String(await later.read("logs/small"))).toBe("hello");
  expect((await later.read("logs/large")).equals(Buffer.alloc(100_000, "x"))).toBe(true);
  await world.stop();
});

test.concurrent("with the primary out of reach it ends within seconds, and its log names what is lost", async () => {
  const world = await World.start();
  const { disk, lost } = await opened(world);
  await writeTwo(disk);
  await world.stopServer("aws");
  expect(await timed(disk.access.close())).toBeLessThan(6_000);
  expect(lost()).toHaveLength(2);
  expect(lost()).toContainEqual(expect.objectContaining({ path: "/logs/small", bytes: 5 }));
  expect(lost()).toContainEqual(expect.objectContaining({ path: "/logs/large", bytes: 100_000 }));
  await world.stop();
});

test.concurrent("with the bucket out of reach it goes on trying for a while, and ends too", async () => {
  const world = await World.start();
  const { disk, lost } = await opened(world);
  await writeTwo(disk);
  rmSync(join(world.dir, "bucket-aws"), { recursive: true });
  expect(await timed(disk.access.close())).toBeLessThan(16_000);
  expect(lost()).toEqual([expect.objectContaining({ path: "/logs/large", bytes: 100_000 })]);
  await world.stop();
});
