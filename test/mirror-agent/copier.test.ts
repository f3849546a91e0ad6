import pino from "pino";
import { afterEach, expect, test } from "vitest";
import { crc32c } from "../../base/crc32c.ts";
import type { Slice } from "../../core/commands.ts";
import { BLOCK_BYTES, type RegionIndex, type SliceId } from "../../core/ids.ts";
import { createBudget } from "../../mirror-agent/budget.ts";
import { Copier } from "../../mirror-agent/copier.ts";
import { Reachability } from "../../mirror-agent/reachability.ts";
import { blocksOf } from "../../mirror-agent/verify.ts";
import { type ObjectStore, ObjectStoreError } from "../../object-store/object-store.ts";

/** A bucket in memory. A test can make any request fail or hang, and change the stored objects. */
class ScriptedStore implements ObjectStore {
  readonly url: string;
  readonly objects = new Map<string, Buffer>();
  readonly calls: string[] = [];
  fault: (call: string, key: string) => Promise<void> | undefined = () => undefined;
  inFlight = 0;
  inFlightMax = 0;

  constructor(url: string) {
    this.url = url;
  }

  async create(key: string, body: Uint8Array, options: { crc32c: number }): Promise<"created" | "exists"> {
    await this.#enter("create", key);
    if (crc32c(body) !== options.crc32c) throw new ObjectStoreError("corrupt", "the checksum differs");
    const there = this.objects.get(key);
    if (there !== undefined) {
      if (there.equals(body)) return "exists";
      throw new ObjectStoreError("conflict", `${key} exists with other content`);
    }
    this.objects.set(key, Buffer.from(body));
    return "created";
  }

  async read(key: string): Promise<Uint8Array> {
    await this.#enter("read", key);
    const body = this.objects.get(key);
    if (body === undefined) throw new ObjectStoreError("notFound", `${key} does not exist`);
    return body;
  }

  async head(key: string) {
    await this.#enter("head", key);
    const body = this.objects.get(key);
    return body && { bytes: body.length, crc32c: crc32c(body) };
  }

  async delete(key: string): Promise<void> {
    await this.#enter("delete", key);
    this.objects.delete(key);
  }

  async *list(): AsyncIterable<never> {}
  async probe(): Promise<void> {
    await this.#enter("probe", "");
  }
  async close(): Promise<void> {}

  async #enter(call: string, key: string): Promise<void> {
    this.calls.push(call);
    this.inFlightMax = Math.max(this.inFlightMax, ++this.inFlight);
    try {
      await this.fault(call, key);
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      this.inFlight--;
    }
  }
}

const own = new ScriptedStore("own:");
const home = new ScriptedStore("home:");
const third = new ScriptedStore("third:");
let reachability: Reachability;
const back: number[] = [];

function copier(options: { blocks?: number; blockTimeoutMs?: number; stores?: ScriptedStore[] } = {}): Copier {
  const list = options.stores ?? [home, own, third];
  for (const store of list) {
    store.objects.clear();
    store.calls.length = 0;
    store.fault = () => undefined;
    store.inFlight = 0;
    store.inFlightMax = 0;
  }
  const stores = new Map(list.map((store, index) => [index as RegionIndex, store]));
  reachability = new Reachability({ stores, logger: pino({ level: "silent" }), onBack: (region) => back.push(region) });
  const budget = createBudget({ blocks: options.blocks ?? 32, bytes: 64 * 1024 * 1024 });
  const own_ = 1 as RegionIndex;
  return new Copier({
    volume: "v",
    own: own_,
    stores,
    reachability,
    budget,
    blockTimeoutMs: options.blockTimeoutMs ?? 5_000,
  });
}

afterEach(() => reachability.close());

function slice(bytes: number, options: { id?: number; home?: number; at?: ScriptedStore[] } = {}): Slice {
  const content = Buffer.alloc(bytes, `content of ${options.id ?? 7}, `);
  const bodies: Buffer[] = [];
  for (let at = 0; at < bytes; at += BLOCK_BYTES) bodies.push(content.subarray(at, at + BLOCK_BYTES));
  const id = (options.id ?? 7) as SliceId;
  const made = { id, bytes, home: (options.home ?? 0) as RegionIndex, crc32c: bodies.map((body) => crc32c(body)) };
  for (const store of options.at ?? [home])
    for (const block of blocksOf("v", made)) store.objects.set(block.key, bodies[block.index]!);
  return made;
}

const ordinary = { check: false, urgent: false, signal: new AbortController().signal };
const checking = { ...ordinary, check: true };
const keyOf = (made: Slice, index = 0) => blocksOf("v", made)[index]!.key;
const fails = (code: ObjectStoreError["code"], times = Infinity) => {
  let left = times;
  return async () => {
    if (left-- > 0) throw new ObjectStoreError(code, `${code} by the test`);
  };
};

test("copies from home, or from another region when home lacks the block", async () => {
  const it = copier();
  expect(await it.copy(slice(9 * 1024 * 1024), ordinary)).toEqual({
    resident: true,
    copiedBlocks: 3,
    copiedBytes: 9 * 1024 * 1024,
  });
  expect(third.calls).toEqual([]);
  const elsewhere = slice(100, { id: 8, at: [third] });
  expect(await it.copy(elsewhere, ordinary)).toMatchObject({ resident: true });
  expect(own.objects.get(keyOf(elsewhere))).toEqual(third.objects.get(keyOf(elsewhere)));
});

test("a slice whose home is here and whose blocks are lost is copied back from another region", async () => {
  const it = copier();
  const lost = slice(100, { home: 1, at: [third] });
  expect(await it.copy(lost, checking)).toMatchObject({ resident: true, copiedBlocks: 1 });
});

test("a block missing everywhere blames the slice; one that an unreachable bucket may have blames the path", async () => {
  const it = copier();
  expect(await it.copy(slice(100, { at: [] }), ordinary)).toMatchObject({ resident: false, blame: "slice" });
  home.fault = fails("unavailable");
  expect(await it.copy(slice(100, { at: [] }), ordinary)).toMatchObject({ resident: false, blame: "path" });
  for (let n = 0; n < 3; n++) await it.copy(slice(100, { at: [] }), ordinary);
  expect(reachability.reachable(0 as RegionIndex)).toBe(false);
  const calls = home.calls.length;
  expect(await it.copy(slice(100, { at: [] }), ordinary)).toMatchObject({ resident: false, blame: "path" });
  expect(home.calls.length, "left alone").toBe(calls);
  home.fault = () => undefined;
  while (!reachability.reachable(0 as RegionIndex)) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(back).toEqual([0]);
});

test("A slice counts as copied only when every block of it is in the region's bucket with the checksum that the metadata states", async () => {
  const it = copier({ stores: [home, own] });
  const made = slice(5 * 1024 * 1024);
  const right = home.objects.get(keyOf(made, 1))!;
  const wrong = Buffer.from(right);
  wrong[17]! ^= 1;
  home.objects.set(keyOf(made, 1), wrong);
  expect(await it.copy(made, ordinary)).toMatchObject({ resident: false, blame: "slice" });
  expect(own.objects.has(keyOf(made, 0)), "the good block is there").toBe(true);
  expect(own.objects.has(keyOf(made, 1))).toBe(false);
  let reads = 0;
  home.fault = async (call, key) => {
    if (call === "read" && ++reads === 2) home.objects.set(key, right);
  };
  expect(await it.copy(made, checking)).toEqual({ resident: true, copiedBlocks: 1, copiedBytes: 1024 * 1024 });
});

test("with wrong bytes at home and right ones elsewhere, copies the right ones", async () => {
  const it = copier();
  const made = slice(100, { at: [home, third] });
  home.objects.set(keyOf(made), Buffer.alloc(100, "wrong"));
  expect(await it.copy(made, ordinary)).toMatchObject({ resident: true });
  expect(own.objects.get(keyOf(made))).toEqual(third.objects.get(keyOf(made)));
});

test("a temporary failure is retried, at the source and at the target", async () => {
  const it = copier();
  home.fault = fails("slowDown", 1);
  own.fault = fails("unavailable", 1);
  expect(await it.copy(slice(100), ordinary)).toMatchObject({ resident: true });
  own.fault = fails("full");
  expect(await it.copy(slice(100, { id: 9 }), ordinary)).toMatchObject({ resident: false, blame: "path" });
  expect(third.calls, "another source does not help a full bucket").toEqual([]);
});

test("other content under the block's name in the own bucket is replaced once a verified body was read", async () => {
  const it = copier({ stores: [home, own] });
  const made = slice(100);
  for (const how of [ordinary, checking]) {
    own.objects.set(keyOf(made), Buffer.from("something else"));
    expect(await it.copy(made, how)).toMatchObject({ resident: true });
    expect(own.objects.get(keyOf(made))).toEqual(home.objects.get(keyOf(made)));
  }
  own.objects.set(keyOf(made), Buffer.from("something else"));
  home.objects.clear();
  expect(await it.copy(made, checking)).toMatchObject({ resident: false });
  expect(own.objects.has(keyOf(made)), "not without one").toBe(true);
});

test("a request that never ends holds up only its own block", async () => {
  const it = copier({ blocks: 2, blockTimeoutMs: 300 });
  const stuck = slice(100, { id: 1 });
  home.fault = (call, key) => (call === "read" && key === keyOf(stuck) ? new Promise(() => {}) : undefined);
  const waiting = it.copy(stuck, ordinary);
  for (let id = 2; id < 20; id++) expect(await it.copy(slice(100, { id }), ordinary)).toMatchObject({ resident: true });
  expect(await waiting).toMatchObject({ resident: false, blame: "path" });
});

test("never more blocks in flight than allowed, and an urgent block goes before the waiting ones", async () => {
  const it = copier({ blocks: 3 });
  const order: string[] = [];
  home.fault = async (call, key) => {
    if (call === "read") order.push(key);
    await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const many = Array.from({ length: 20 }, (_, n) => slice(100, { id: 100 + n }));
  const urgent = slice(100, { id: 50 });
  const copies = many.map((made) => it.copy(made, ordinary));
  copies.push(it.copy(urgent, { ...ordinary, urgent: true }));
  await Promise.all(copies);
  expect(home.inFlightMax + own.inFlightMax).toBeGreaterThan(2);
  expect(Math.max(home.inFlightMax, own.inFlightMax)).toBeLessThanOrEqual(3);
  expect(order.indexOf(keyOf(urgent))).toBeLessThan(7);
});

test("an aborted copy stops, and reports nothing as resident that is not", async () => {
  const it = copier({ blocks: 1 });
  const stop = new AbortController();
  home.fault = () => new Promise(() => {});
  const copies = [1, 2, 3].map((id) => it.copy(slice(100, { id }), { ...ordinary, signal: stop.signal }));
  setTimeout(() => stop.abort(new Error("closed")), 20);
  for (const outcome of await Promise.all(copies)) expect(outcome.resident).toBe(false);
});
