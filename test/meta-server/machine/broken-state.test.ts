import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { decodePairs, encodePairs } from "../../../meta-server/machine/load-part.ts";
import { runMetaServer } from "../../../meta-server/main.ts";
import { until } from "../../support/until.ts";
import { logger, TestVolume } from "../harness.ts";
import { RawClient } from "../raw-client.ts";

let volume: TestVolume | undefined;

afterEach(() => volume?.close());

test("a truncated part of a snapshot, or bytes that are none, are refused", () => {
  const part = encodePairs([["key", Buffer.from("value")]]);
  expect(decodePairs(part)).toHaveLength(1);
  for (let bytes = 1; bytes < part.length; bytes++)
    expect(() => decodePairs(part.subarray(0, bytes))).toThrow(RangeError);
  expect(() => decodePairs(Buffer.alloc(100, 0xee))).toThrow(RangeError);
});

const FILES = 10_000;
const name = (i: number) => `file-${i}-${"x".repeat(50)}`;

/** Overwrites the first half of each table of the state: the indexes stay whole, the pairs are lost. */
async function damageTables(directory: string): Promise<number> {
  const tables = (await readdir(directory)).filter((file) => file.endsWith(".ldb"));
  for (const table of tables) {
    const file = await open(join(directory, table), "r+");
    const { size } = await file.stat();
    await file.write(Buffer.alloc(Math.floor(size / 2), 0xee), 0, Math.floor(size / 2), 0);
    await file.close();
  }
  return tables.length;
}

test("a state that cannot be read stops the server with one line", async () => {
  volume = await TestVolume.create({ aws: 1 });
  await volume.start("aws");
  const { address } = await volume.leader("aws", (status) => status.role === "primary");
  const writer = new RawClient(address);
  await writer.open();
  for (let i = 0; i < FILES; i += 500)
    await Promise.all(Array.from({ length: 500 }, (_, j) => writer.make(1, name(i + j))));
  writer.close();
  await volume.stop("aws");
  await volume.start("aws"); // on opening, LevelDB turns its log into a table
  await volume.stop("aws");

  const dataDir = join(volume.directory, "aws-1");
  const fatal: Error[] = [];
  const onFatal = (error: Error) => fatal.push(error);
  await runMetaServer({ volume: volume.volume, region: "aws", member: 1, dataDir, logger, onFatal });
  const reader = new RawClient((await volume.leader("aws", (status) => status.role === "primary")).address);
  await reader.welcome;
  expect(await damageTables(join(dataDir, "state-1"))).toBeGreaterThan(0);
  for (let i = 0; i < FILES && fatal.length === 0; i += 10) await reader.lookup(1, name(i));
  const line = /^the state in .*state-1 is unusable: .*(C|c)orrupt/;
  expect(fatal.map(({ message }) => message)).toEqual([expect.stringMatching(line)]);
  await until("its streams have ended", () => reader.ended);
});
