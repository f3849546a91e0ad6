import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Generations } from "../../../meta-server/machine/generations.ts";
import { generationPrefix } from "../../../meta-server/machine/local-keys.ts";
import { TurnStore } from "../../../meta-server/machine/turn-store.ts";
import { type DataDirectory, openDataDirectory } from "../../../meta-server/storage/data-directory.ts";

let directory: string;
let data: DataDirectory;
let store: TurnStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-generations-"));
  data = await openDataDirectory(directory, { volume: "v", region: "r", member: 1 });
  store = new TurnStore(data.state);
  for (let key = 0; key < 5_000; key += 1) store.put(`${generationPrefix(1)}${key}`, Buffer.from("dead"));
  store.put(`${generationPrefix(2)}key`, Buffer.from("alive"));
  await new Promise<void>((resolve) => store.endTurn(() => resolve()));
});

afterEach(async () => {
  await data.log.close();
  await rm(directory, { recursive: true });
});

test("a sweep deletes dead generations and keeps the live one", async () => {
  const generations = new Generations(store);
  await Promise.all([generations.sweep(2, []), generations.sweep(2, [])]);
  const left: string[] = [];
  for await (const page of store.pages("")) for (const [key] of page) left.push(key);
  expect(left).toEqual([`${generationPrefix(2)}key`]);
  await generations.close();
  await store.close();
});

test("closing during a sweep waits for the page that is being deleted, and no sweep begins after it", async () => {
  const generations = new Generations(store);
  const sweeping = generations.sweep(2, []);
  await generations.close();
  await store.close();
  await expect(sweeping).resolves.toBeUndefined();
  await expect(generations.sweep(2, [])).resolves.toBeUndefined();
});
