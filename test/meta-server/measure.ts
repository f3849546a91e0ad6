/**
 * Creates and lookups a second at a group of three processes: `node test/meta-server/measure.ts [seconds] [members]`.
 * `MEASURE_PROFILE=DIR` writes a CPU profile of each server there.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pino from "pino";
import { runMetaServer } from "../../meta-server/main.ts";
import { Freshness, Status } from "../../proto/generated/metadata.ts";
import type { VolumeDescription } from "../../proto/volume-description.ts";
import { freePort, TestVolume, until } from "./harness.ts";
import { RawClient } from "./raw-client.ts";

const self = fileURLToPath(import.meta.url);
const IN_FLIGHT = 64;
const DIRECTORIES = 1_000;

function describe(meta: string[]): VolumeDescription {
  return {
    volume: "test",
    regions: new Map([["aws", { name: "aws", meta, bucket: "file:///nowhere", queue: "redis://127.0.0.1:1" }]]),
    primary: "aws",
    changelog: { retainHours: 24, retainGib: 10 },
    startAlone: "serve",
    startAloneWaitMs: 0,
    gc: { graceMs: 0 },
  };
}

async function serve(member: number, dataDir: string, meta: string[]): Promise<void> {
  const logger = pino({ level: process.env.TEST_LOG ?? "warn" });
  const server = await runMetaServer({ volume: describe(meta), region: "aws", member, dataDir, logger });
  process.on("SIGTERM", () => void server.stop().then(() => process.exit(0)));
}

/** Keeps IN_FLIGHT of `one` under way for a while. @returns how many a second */
async function rate(seconds: number, inFlight: number, one: (n: number) => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  let count = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() < endMs) await one(count++);
    }),
  );
  return Math.round(count / ((performance.now() - startMs) / 1000));
}

async function medianMs(times: number, one: (n: number) => Promise<unknown>): Promise<number> {
  const tookMs: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const startMs = performance.now();
    await one(n);
    tookMs.push(performance.now() - startMs);
  }
  return tookMs.sort((a, b) => a - b)[times >> 1]!;
}

async function measure(seconds: number, members: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-measure-"));
  const meta: string[] = [];
  for (let member = 1; member <= members; member += 1) meta.push(`127.0.0.1:${await freePort()}`);
  const profile = process.env.MEASURE_PROFILE;
  const flags = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  const processes = meta.map((_, index) =>
    spawn(process.execPath, [...flags, self, "serve", `${index + 1}`, join(directory, `${index + 1}`), ...meta], {
      stdio: "inherit",
    }),
  );
  const volume = await TestVolume.create({ aws: 0 }, describe(meta));
  try {
    const { address } = await volume.leader("aws", (status) => status.role === "primary");
    const client = new RawClient(address);
    await until("a session", async () => ((await client.open()).status === Status.OK ? true : undefined));
    const directories = await Promise.all(
      Array.from({ length: DIRECTORIES }, (_, i) => client.make(1, `d${i}`, "directory")),
    );
    const parent = (n: number) => directories[n % DIRECTORIES]!.inode;
    const report: Record<string, number> = {};
    report["create-1 p50 ms"] = await medianMs(500, (n) => client.make(parent(n), `one${n}`));
    report["create-64 /s"] = await rate(seconds, IN_FLIGHT, (n) => client.make(parent(n), `f${n}`));
    report["lookup-64 /s"] = await rate(3, IN_FLIGHT, (n) => client.lookup(parent(n % 5_000), `f${n % 5_000}`));
    report["lookup-1 p50 ms"] = await medianMs(2_000, (n) => client.lookup(parent(n), `f${n}`, Freshness.TOKEN));
    process.stdout.write(`${JSON.stringify(report)}\n`);
    client.close();
  } finally {
    for (const child of processes) child.kill("SIGTERM");
    await Promise.all(processes.map((child) => new Promise((resolve) => child.on("exit", resolve))));
    await volume.close();
    await rm(directory, { recursive: true, force: true });
  }
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === "serve") await serve(Number(rest[0]), rest[1]!, rest.slice(2));
else await measure(Number(mode ?? 5), Number(rest[0] ?? 3));
