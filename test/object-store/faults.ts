import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { FaultRule } from "../../sandbox/faults.ts";
import { block, collect, type Harness } from "./harness.ts";

/** Tests of what a store does when its service fails. Each checks that its fault was hit. */
export function survivesFaults(name: string, start: () => Promise<Harness>): void {
  describe(`${name} when the service fails`, () => {
    let harness: Harness;
    beforeAll(async () => {
      harness = await start();
    });
    afterAll(() => harness?.stop());
    afterEach(() => harness.faults!.clear());

    const order = (rule: FaultRule) => {
      const id = harness.faults!.add(rule);
      return () => harness.faults!.hits(id);
    };
    const stored = async (key: string, bytes = 200_000) => {
      const { body, crc } = block(bytes);
      await harness.open().create(key, body, { crc32c: crc });
      return body;
    };

    test("a truncated body is read again; when it is always truncated, the read fails as corrupt", async () => {
      const body = await stored("cut");
      const once = order({ fault: { kind: "cutBody", afterBytes: 70_000 }, operation: "read", count: 1 });
      expect(Buffer.compare(await harness.open().read("cut"), body)).toBe(0);
      expect(once()).toBe(1);
      const always = order({ fault: { kind: "cutBody", afterBytes: 70_000 }, operation: "read" });
      await expect(harness.open({ attempts: 2 }).read("cut")).rejects.toMatchObject({ code: "corrupt" });
      expect(always()).toBe(2);
    });

    test("a truncated range is corrupt", async () => {
      await stored("cut-range");
      const hits = order({ fault: { kind: "cutBody", afterBytes: 500 }, operation: "read" });
      const read = harness.open({ attempts: 1 }).read("cut-range", { offset: 100, length: 1_000 });
      await expect(read).rejects.toMatchObject({ code: "corrupt" });
      expect(hits()).toBe(1);
    });

    test("wrong bytes are read again; when they are always wrong, the read fails as corrupt", async () => {
      const body = await stored("bits");
      const once = order({ fault: { kind: "wrongBytes" }, operation: "read", count: 1 });
      expect(Buffer.compare(await harness.open().read("bits"), body)).toBe(0);
      expect(once()).toBe(1);
      const always = order({ fault: { kind: "wrongBytes" }, operation: "read" });
      await expect(harness.open({ attempts: 2 }).read("bits")).rejects.toMatchObject({ code: "corrupt" });
      expect(always()).toBe(2);
    });

    test("an upload whose bytes change in transit is refused, and nothing is stored", async () => {
      const hits = order({ fault: { kind: "wrongBytes" }, operation: "create" });
      const { body, crc } = block(200_000);
      const create = harness.open({ attempts: 1 }).create("changed", body, { crc32c: crc });
      await expect(create).rejects.toMatchObject({ code: "corrupt" });
      expect(hits()).toBe(1);
      expect(await harness.open().head("changed")).toBeUndefined();
    });

    test("an upload cut in the middle is sent again", async () => {
      const hits = order({ fault: { kind: "cutBody", afterBytes: 100_000 }, operation: "create", count: 1 });
      const { body, crc } = block(2_000_000);
      expect(await harness.open().create("cut-upload", body, { crc32c: crc })).toBe("created");
      expect(hits()).toBe(1);
      expect(Buffer.compare(await harness.open().read("cut-upload"), body)).toBe(0);
    });

    test("a create whose response was lost finds its own object", async () => {
      const hits = order({ fault: { kind: "loseAnswer" }, operation: "create", count: 1 });
      const { body, crc } = block(1_000);
      expect(await harness.open().create("lost-answer", body, { crc32c: crc })).toBe("exists");
      expect(hits()).toBe(1);
    });

    for (const kind of ["slowDown", "unavailable", "refuse"] as const) {
      test(`${kind} is retried, a bounded number of times`, async () => {
        const body = await stored(`busy-${kind}`);
        const twice = order({ fault: { kind }, operation: "read", count: 2 });
        expect(Buffer.compare(await harness.open().read(`busy-${kind}`), body)).toBe(0);
        expect(twice()).toBe(2);
        const always = order({ fault: { kind }, operation: "read" });
        const code = kind === "slowDown" ? "slowDown" : "unavailable";
        await expect(harness.open({ attempts: 3 }).read(`busy-${kind}`)).rejects.toMatchObject({ code });
        expect(always()).toBe(3);
      });
    }

    test("an error in the middle of a listing throws: it is never a short listing", async () => {
      for (let i = 0; i < 7; i++) await stored(`pages/${i}`, 10);
      const hits = order({ fault: { kind: "unavailable" }, operation: "list", skip: 2 });
      const seen: string[] = [];
      const walk = async () => {
        for await (const { key } of harness.open({ pageKeys: 2, attempts: 1 }).list("pages/")) seen.push(key);
      };
      await expect(walk()).rejects.toMatchObject({ code: "unavailable" });
      expect(seen).toHaveLength(4);
      expect(hits()).toBe(1);
      harness.faults!.clear();
      order({ fault: { kind: "unavailable" }, operation: "list", skip: 2, count: 1 });
      expect(await collect(harness.open({ pageKeys: 2 }).list("pages/"))).toHaveLength(7);
    });

    test("a request to a service that hangs times out", async () => {
      await stored("hang");
      const store = harness.open({ totalTimeoutMs: 400 });
      await store.probe();
      const hits = order({ fault: { kind: "hang" } });
      const begunMs = performance.now();
      const { body, crc } = block(100);
      await expect(store.read("hang")).rejects.toMatchObject({ code: "timeout" });
      await expect(store.create("hang-2", body, { crc32c: crc })).rejects.toMatchObject({ code: "timeout" });
      expect(performance.now() - begunMs).toBeLessThan(5_000);
      expect(hits()).toBe(2);
    });

    test("a connection on which no byte moves is closed, and the request sent on another", async () => {
      const body = await stored("idle");
      const hits = order({ fault: { kind: "hang" }, operation: "read", count: 1 });
      expect(Buffer.compare(await harness.open({ idleTimeoutMs: 200 }).read("idle"), body)).toBe(0);
      expect(hits()).toBe(1);
    });

    test("an aborted call rejects at once, and does not disturb others", async () => {
      const body = await stored("others", 3_000_000);
      const store = harness.open();
      await store.read("others");
      const hits = order({ fault: { kind: "hang" }, key: "^hung$" });
      const controller = new AbortController();
      const hung = store.read("hung", { signal: controller.signal });
      const others = Promise.all(Array.from({ length: 4 }, () => store.read("others")));
      setTimeout(() => controller.abort(), 50);
      const begunMs = performance.now();
      await expect(hung).rejects.toMatchObject({ code: "aborted" });
      expect(performance.now() - begunMs).toBeLessThan(2_000);
      for (const read of await others) expect(Buffer.compare(read, body)).toBe(0);
      expect(hits()).toBe(1);
    });

    test("the probe of an unreachable bucket says so, in one line that names it", async () => {
      order({ fault: { kind: "refuse" } });
      const store = harness.open({ attempts: 1 });
      const probe = store.probe();
      await expect(probe).rejects.toMatchObject({ code: "unavailable" });
      await expect(probe).rejects.toThrow(`bucket ${store.url} cannot be reached`);
    });
  });
}
