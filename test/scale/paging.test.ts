/** A small version of `npm run scale` that measures reads instead of time: no request loads more than a page. */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { Machine } from "../../meta-server/machine/machine.ts";
import { StateSnapshot } from "../../meta-server/storage/state-snapshot.ts";
import { StateStore } from "../../meta-server/storage/state-store.ts";
import { Freshness, Status } from "../../proto/generated/metadata.ts";
import { TestVolume } from "../meta-server/harness.ts";
import { RawClient } from "../meta-server/raw-client.ts";
import { until } from "../support/until.ts";
import { fileName, type Generated, generate } from "./generate.ts";

const INODES = 100_000;
const BIG_DIRECTORY = 50_000;
/** The most entries in one page of a listing. */
const PAGE_MAX = 4_096;

let volume: TestVolume;
let generated: Generated;

beforeAll(async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  generated = await generate({
    volume: "test",
    regions: ["aws", "gcp"],
    region: "aws",
    member: 1,
    dataDir: join(volume.directory, "aws-1"),
    inodes: INODES,
    bigDirectory: BIG_DIRECTORY,
  });
}, 120_000);

afterAll(() => volume.close());

afterEach(() => {
  vi.restoreAllMocks();
});

/** Records how many key-value pairs each call to the state store reads. */
function watchReads(): { sizes: number[]; total: () => number } {
  const sizes: number[] = [];
  const { get, getMany, range } = StateStore.prototype;
  vi.spyOn(StateStore.prototype, "get").mockImplementation(function (this: StateStore, key) {
    sizes.push(1);
    return get.call(this, key);
  });
  vi.spyOn(StateStore.prototype, "getMany").mockImplementation(function (this: StateStore, keys) {
    sizes.push(keys.length);
    return getMany.call(this, keys);
  });
  vi.spyOn(StateStore.prototype, "range").mockImplementation(async function (this: StateStore, ...bounds) {
    const pairs = await range.call(this, ...bounds);
    sizes.push(pairs.length);
    return pairs;
  });
  return { sizes, total: () => sizes.reduce((sum, size) => sum + size, 0) };
}

test("a start reads nothing that grows with the volume", async () => {
  const reads = watchReads();
  await volume.start("aws");
  const { stateHash, inodes } = await volume.leader("aws", ({ role }) => role === "primary");
  expect(inodes).toBeGreaterThan(INODES * 0.98);
  expect(stateHash).toBe(generated.stateHash);
  await new Promise((resolve) => setTimeout(resolve, 1_000)); // include background work
  expect(reads.total()).toBeLessThan(INODES / 20);
});

test("a large directory is listed in pages, whatever limit a client requests", async () => {
  const { address } = await volume.leader("aws", ({ role }) => role === "primary");
  const client = new RawClient(address);
  await client.welcome;
  const reads = watchReads();
  const names: string[] = [];
  for (let after = Buffer.alloc(0), end = false; !end; ) {
    const value = { inode: generated.big, after, limit: BIG_DIRECTORY, attributes: true };
    const page = await client.ask({ $case: "readDirectory", value }, Freshness.COMMITTED);
    expect(page.status).toBe(Status.OK);
    expect(page.entries.length).toBeLessThanOrEqual(PAGE_MAX);
    expect(page.entries.every((entry) => entry.attributes.length > 0)).toBe(true);
    for (const entry of page.entries) names.push(entry.name.toString());
    end = page.end;
    after = Buffer.from(names.at(-1)!);
  }
  expect(names).toEqual(Array.from({ length: BIG_DIRECTORY }, (_, i) => fileName(i)));
  expect(Math.max(...reads.sizes)).toBeLessThanOrEqual(PAGE_MAX);
  client.close();
});

test("a mirror that is slow to apply applies back-pressure to its primary's snapshot, then catches up", async () => {
  const { ready } = Machine.prototype;
  const held = Promise.withResolvers<void>();
  let isHeld = false;
  vi.spyOn(Machine.prototype, "ready").mockImplementation(function (this: Machine) {
    if (this.role !== "unformatted" || this.facts.lastGeneration < 2) return ready.call(this);
    isHeld = true;
    return held.promise;
  });
  let read = 0;
  const { pages } = StateSnapshot.prototype;
  vi.spyOn(StateSnapshot.prototype, "pages").mockImplementation(async function* (this: StateSnapshot, from) {
    for await (const page of pages.call(this, from)) {
      read += page.length;
      yield page;
    }
  });
  await volume.start("gcp");
  await until("the mirror to receive a part of the snapshot", () => isHeld);
  const atRest = await until("the primary to stop reading", async () => {
    const before = read;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return read === before ? before : undefined;
  });
  held.resolve();
  const { stateHash } = await volume.leader("aws", ({ role }) => role === "primary");
  await volume.leader("gcp", (status) => status.role === "mirror" && status.stateHash === stateHash);
  expect(read).toBeGreaterThan(2 * INODES);
  expect(atRest).toBeLessThan(read * 0.75);
});
