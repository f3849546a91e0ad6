import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT_INODE } from "../../core/ids.ts";
import type { RawClient } from "../meta-server/raw-client.ts";
import { connectToLeader, onCloud } from "./cloud.ts";
import { percentile, type Row, row } from "./row.ts";

const DIRECTORIES = 1_000;
const AT_ONCE = 64;
const CREATE_MS = 30_000;
const LOOKUP_MS = 10_000;
const ONE_AT_A_TIME = 2_000;

/** A group of three servers as processes, and one client's stream. */
export async function metadata(): Promise<Row[]> {
  const syncMs = fdatasyncMs();
  return await onCloud({ replicas: 3, wanMs: 0, buckets: "file" }, async (on) => {
    const client = await connectToLeader(on, "aws");
    const directories = await makeDirectories(client);
    const createOne = (i: number) => client.make(directories[i % DIRECTORIES]!, `one-${i}`);
    const createMs = await oneAtATime(createOne);
    const creates = await atOnce(
      CREATE_MS,
      async (i) => void (await client.make(directories[i % DIRECTORIES]!, `file-${i}`)),
    );
    const lookup = async (i: number) => {
      const found = await client.lookup(directories[(i % ONE_AT_A_TIME) % DIRECTORIES]!, `one-${i % ONE_AT_A_TIME}`);
      if (typeof found === "string") throw new Error(`lookup: ${found}`);
    };
    const lookupMs = await oneAtATime(lookup);
    const lookups = await atOnce(LOOKUP_MS, lookup);
    client.close();
    return [
      row("fdatasync", syncMs, "ms"),
      row("create-64", creates, "/s", { better: "more", value: 12_000 }, 1_000 / syncMs),
      row("create-1", percentile(createMs, 0.5), "ms", { better: "less", value: 0.65 }, syncMs),
      row("create-1.p99", percentile(createMs, 0.99), "ms"),
      row("lookup-64", lookups, "/s", { better: "more", value: 100_000 }),
      row("lookup-1", percentile(lookupMs, 0.5), "ms", { better: "less", value: 0.25 }),
      row("lookup-1.p99", percentile(lookupMs, 0.99), "ms"),
    ];
  });
}

async function makeDirectories(client: RawClient): Promise<number[]> {
  const made = Array.from({ length: DIRECTORIES }, (_, i) => client.make(ROOT_INODE, `directory-${i}`, "directory"));
  return (await Promise.all(made)).map((it) => it.inode);
}

async function oneAtATime(step: (i: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < ONE_AT_A_TIME; i++) {
    const startedMs = performance.now();
    await step(i);
    times.push(performance.now() - startedMs);
  }
  return times;
}

/** @returns how many a second, with so many in flight all the time. */
async function atOnce(forMs: number, step: (i: number) => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  let next = 0;
  const worker = async () => {
    while (performance.now() - startedMs < forMs) await step(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return next / ((performance.now() - startedMs) / 1_000);
}

/** The disk's own price of durability: 4 KiB appended and synced. */
function fdatasyncMs(): number {
  const dir = mkdtempSync(join(tmpdir(), "mirrorfs-sync-"));
  const file = openSync(join(dir, "file"), "w");
  const times = Array.from({ length: 300 }, () => {
    const startedMs = performance.now();
    writeSync(file, Buffer.alloc(4096));
    fdatasyncSync(file);
    return performance.now() - startedMs;
  });
  closeSync(file);
  rmSync(dir, { recursive: true });
  return percentile(times, 0.5);
}
