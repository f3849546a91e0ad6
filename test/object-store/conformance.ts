import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { block, collect, type Harness } from "./harness.ts";

/** Known violations of a third-party server. The tests of those are left out; the rest of the suite holds. */
export type Deviation = "copies in spite of the precondition";

const MIB = 1 << 20;

/** Tests of what every object store promises (object-store/object-store.ts). */
export function conformance(name: string, start: () => Promise<Harness>, deviations: readonly Deviation[] = []): void {
  const unless = (deviation: Deviation): ((promise: string, run: () => Promise<void>) => void) =>
    deviations.includes(deviation) ? () => {} : test;

  describe(`${name} as an object store`, () => {
    let harness: Harness;
    beforeAll(async () => {
      harness = await start();
    });
    afterAll(() => harness?.stop());

    for (const bytes of [0, 1, 65_537, 4 * MIB]) {
      test(`an object of ${bytes} bytes reads back unchanged`, async () => {
        const store = harness.open();
        const { body, crc } = block(bytes);
        expect(await store.create(`round/${bytes}`, body, { crc32c: crc })).toBe("created");
        expect(await store.head(`round/${bytes}`)).toEqual({ bytes, crc32c: crc });
        expect(Buffer.compare(await store.read(`round/${bytes}`), body)).toBe(0);
      });
    }

    test("a wrong checksum is refused and nothing is stored", async () => {
      const store = harness.open();
      const { body, crc } = block(100_000);
      await expect(store.create("wrong", body, { crc32c: (crc ^ 1) >>> 0 })).rejects.toMatchObject({ code: "corrupt" });
      expect(await store.head("wrong")).toBeUndefined();
    });

    test("creating the same object again succeeds", async () => {
      const store = harness.open();
      const { body, crc } = block(5_000);
      await store.create("twice", body, { crc32c: crc });
      expect(await store.create("twice", body, { crc32c: crc })).toBe("exists");
    });

    test("other content under an existing key is a conflict, and the first object stays", async () => {
      const store = harness.open();
      const [first, other, longer] = [block(5_000), block(5_000), block(5_001)];
      await store.create("taken", first.body, { crc32c: first.crc });
      for (const { body, crc } of [other, longer]) {
        await expect(store.create("taken", body, { crc32c: crc })).rejects.toMatchObject({ code: "conflict" });
      }
      expect(Buffer.compare(await store.read("taken"), first.body)).toBe(0);
    });

    test("of many concurrent creates exactly one wins", async () => {
      const store = harness.open();
      const blocks = Array.from({ length: 8 }, () => block(300_000));
      const outcomes = await Promise.allSettled(
        blocks.map(({ body, crc }) => store.create("race", body, { crc32c: crc })),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome.status === "fulfilled" ? [i] : []));
      expect(winners).toHaveLength(1);
      expect(Buffer.compare(await store.read("race"), blocks[winners[0]!]!.body)).toBe(0);
    });

    test("reads exact ranges", async () => {
      const store = harness.open();
      const { body, crc } = block(10_000);
      await store.create("ranges", body, { crc32c: crc });
      for (const [offset, length] of [
        [0, 1],
        [0, 10_000],
        [9_999, 1],
        [4_000, 2_500],
      ] as const) {
        const got = await store.read("ranges", { offset, length });
        expect(Buffer.compare(got, body.subarray(offset, offset + length)), `${offset}+${length}`).toBe(0);
      }
      expect(Buffer.compare(await store.read("ranges", { offset: 9_000 }), body.subarray(9_000))).toBe(0);
      expect(await store.read("ranges", { offset: 3, length: 0 })).toHaveLength(0);
    });

    test("a range that reaches past the end is refused", async () => {
      const store = harness.open();
      const { body, crc } = block(100);
      await store.create("short", body, { crc32c: crc });
      for (const range of [{ offset: 99, length: 2 }, { offset: 100, length: 1 }, { offset: 500 }]) {
        await expect(store.read("short", range), JSON.stringify(range)).rejects.toMatchObject({ code: "range" });
      }
    });

    test("a missing object is reported as missing", async () => {
      const store = harness.open();
      expect(await store.head("nothing/here")).toBeUndefined();
      await expect(store.read("nothing/here")).rejects.toMatchObject({ code: "notFound" });
      await store.delete("nothing/here");
    });

    test("a deleted object is missing, and can be created again", async () => {
      const store = harness.open();
      const [first, second] = [block(10), block(20)];
      await store.create("again", first.body, { crc32c: first.crc });
      await store.delete("again");
      expect(await store.head("again")).toBeUndefined();
      expect(await store.create("again", second.body, { crc32c: second.crc })).toBe("created");
    });

    test("a listing of more than a thousand keys has each once, in order", async () => {
      const store = harness.open({ pageKeys: 200 });
      const { body, crc } = block(3);
      const keys = Array.from({ length: 1_010 }, (_, i) => `many/${(i % 16).toString(16)}/${i}`);
      const waiting = [...keys, "many-more", "manx"];
      const work = async () => {
        for (let key = waiting.pop(); key !== undefined; key = waiting.pop())
          await store.create(key, body, { crc32c: crc });
      };
      await Promise.all(Array.from({ length: 32 }, work));
      const listed = await collect(store.list("many/"));
      expect(listed.map((object) => object.key)).toEqual([...keys].sort());
      expect(new Set(listed.map((object) => object.bytes))).toEqual(new Set([3]));
      const after = keys.toSorted()[500]!;
      const rest = await collect(store.list("many/", { after }));
      expect(rest.map((object) => object.key)).toEqual(keys.toSorted().slice(501));
      const wide = await collect(store.list("many"));
      expect(wide.map((object) => object.key)).toEqual(["many-more", ...keys.toSorted()]);
      expect(await collect(store.list("nobody/"))).toEqual([]);
    });

    test("every operation with an aborted signal rejects", async () => {
      const store = harness.open();
      const signal = AbortSignal.abort();
      const { body, crc } = block(10);
      await expect(store.create("aborted", body, { crc32c: crc, signal })).rejects.toMatchObject({ code: "aborted" });
      await expect(store.read("aborted", { signal })).rejects.toMatchObject({ code: "aborted" });
      await expect(collect(store.list("", { signal }))).rejects.toMatchObject({ code: "aborted" });
      expect(await store.head("aborted")).toBeUndefined();
    });

    test("an existing bucket passes the probe", async () => {
      await harness.open().probe();
    });

    test("the probe of a missing bucket names it and the remedy", async () => {
      const missing = harness.openMissing();
      const probe = missing.probe();
      await expect(probe).rejects.toMatchObject({ code: "noBucket" });
      await expect(probe).rejects.toThrow(`bucket ${missing.url} does not exist`);
    });

    unless("copies in spite of the precondition")(
      "a copy inside the service has the same content, or is left to the caller",
      async () => {
        const [source, target] = [harness.open(), harness.openSecond()];
        const { body, crc } = block(70_000);
        await source.create("copied", body, { crc32c: crc });
        const options = { crc32c: crc, bytes: body.length };
        if ((await target.copyFrom?.(source, "copied", options)) === undefined) return;
        expect(Buffer.compare(await target.read("copied"), body)).toBe(0);
        expect(await target.head("copied")).toEqual({ bytes: body.length, crc32c: crc });
        expect(await target.copyFrom!(source, "copied", options)).toBe("exists");
        const wrong = { ...options, crc32c: (crc ^ 1) >>> 0 };
        await expect(target.copyFrom!(source, "copied", wrong)).rejects.toMatchObject({
          code: expect.stringMatching(/^(conflict|corrupt)$/), // depends on which object is checked first
        });
        await source.create("copied-wrong", body, { crc32c: crc });
        await expect(target.copyFrom!(source, "copied-wrong", wrong)).rejects.toMatchObject({ code: "corrupt" });
        expect(await target.head("copied-wrong")).toBeUndefined();
        const missing = target.copyFrom!(source, "not-there", options);
        await expect(missing).rejects.toMatchObject({ code: "notFound" });
      },
    );
  });
}
