import { expect, test } from "vitest";
import { openObjectStore } from "../../object-store/open.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";
import { BUCKETS, block, S3_ACCOUNT, temporaryDirectory, useS3Account } from "../object-store/harness.ts";

test("faults are added, counted and removed over HTTP, also while the bucket is unreachable", async () => {
  const place = temporaryDirectory();
  const server = await startS3Server({ directory: place.dir, buckets: BUCKETS, ...S3_ACCOUNT });
  useS3Account();
  const store = openObjectStore(`s3://${BUCKETS[0]}?endpoint=${server.endpoint}`, { attempts: 1 });
  const admin = async (method: string, path = "", rule?: unknown) => {
    const init = { method, body: rule === undefined ? undefined : JSON.stringify(rule) };
    return (await fetch(`${server.endpoint}/-/faults${path}`, init)).json() as Promise<never>;
  };
  try {
    const { body, crc } = block(10);
    await store.create("a", body, { crc32c: crc });
    const { id } = await admin("POST", "", { fault: { kind: "refuse" } });
    await expect(store.read("a")).rejects.toMatchObject({ code: "unavailable" });
    expect(await admin("GET")).toEqual([{ id, rule: { fault: { kind: "refuse" } }, hits: 1 }]);
    expect(await admin("DELETE", `/${id}`)).toEqual({ removed: true });
    await store.read("a");

    await admin("POST", "", { fault: { kind: "latency", ms: 80 }, operation: "read", key: "^a$", skip: 1, count: 1 });
    await store.read("a");
    const begunMs = performance.now();
    await store.read("a");
    expect(performance.now() - begunMs).toBeGreaterThanOrEqual(79);
    await store.read("a");
    expect(await admin("GET")).toMatchObject([{ hits: 1 }]);
    await admin("DELETE");
    expect(await admin("GET")).toEqual([]);

    const wrong: [unknown, string][] = [
      [{ fault: { kind: "fire" } }, 'unknown fault "fire"'],
      [{ fault: { kind: "hang" }, opeartion: "read" }, 'unknown key "opeartion"'],
      [{ fault: { kind: "latency" } }, '"latency" needs the number "ms"'],
      [{ fault: { kind: "hang" }, operation: "reed" }, 'unknown operation "reed"'],
    ];
    for (const [rule, why] of wrong)
      expect(((await admin("POST", "", rule)) as { error: string }).error).toContain(why);
  } finally {
    await store.close();
    await server.stop();
    place.remove();
  }
});
