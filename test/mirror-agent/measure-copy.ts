import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import pLimit from "p-limit";
import type { Slice } from "../../core/commands.ts";
import { blocksOf } from "../../mirror-agent/verify.ts";
import { useGoogleKey, useS3Account } from "../object-store/harness.ts";
import { until } from "../support/until.ts";
import { VOLUME, World } from "./support/world.ts";

/** Measures copying by an agent beside a plain loop over the same two buckets, with as many blocks in flight. */
export interface CopyMeasured {
  readonly agentMs: number;
  readonly loopMs: number;
  readonly bytes: number;
  /** The agent's rate divided by the loop's. */
  readonly ratio: number;
}

/** @param urls two empty buckets; directories of its own when not given. */
export async function measureCopy(options: {
  slices: number;
  bytes: number;
  concurrency: number;
  urls?: { source: string; target: string };
}): Promise<CopyMeasured> {
  const world = await World.open(options.urls);
  try {
    const agent = await world.agent({ concurrency: options.concurrency });
    const takers: Record<"agent" | "loop", (slices: readonly Slice[]) => Promise<void>> = {
      loop: (slices) => loop(world, slices, options.concurrency),
      agent: async (slices) => {
        world.metadata.add(slices);
        await until("copied", () => world.metadata.pending.size === 0, 300_000);
      },
    };
    const tookMs = { agent: 0, loop: 0 };
    // In alternating order: the page cache and the disk's queue favour one of the two places.
    for (const taker of ["loop", "agent", "agent", "loop", "loop", "agent", "agent", "loop"] as const) {
      const slices = await make(world, options);
      tookMs[taker] += await timed(() => takers[taker](slices));
      await clear(world, slices);
    }
    await agent.stop();
    const bytes = 4 * options.slices * options.bytes;
    return { agentMs: tookMs.agent, loopMs: tookMs.loop, bytes, ratio: tookMs.loop / tookMs.agent };
  } finally {
    await world.close();
  }
}

async function make(world: World, options: { slices: number; bytes: number }): Promise<Slice[]> {
  const limit = pLimit(32);
  return Promise.all(Array.from({ length: options.slices }, () => limit(() => world.slice(options.bytes))));
}

async function loop(world: World, slices: readonly Slice[], concurrency: number): Promise<void> {
  const limit = pLimit(concurrency);
  const blocks = slices.flatMap((slice) => blocksOf(VOLUME, slice));
  const one = async ({ key, crc32c }: { key: string; crc32c: number }) =>
    world.target.create(key, await world.source.read(key), { crc32c });
  await Promise.all(blocks.map((block) => limit(() => one(block))));
}

async function clear(world: World, slices: readonly Slice[]): Promise<void> {
  const limit = pLimit(32);
  const blocks = slices.flatMap((slice) => blocksOf(VOLUME, slice));
  await Promise.all(
    blocks.map(({ key }) => limit(() => Promise.all([world.source.delete(key), world.target.delete(key)]))),
  );
}

async function timed(run: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}

/** Starts a local S3 server and a local GCS server, each in a process of its own. */
export async function clouds(): Promise<{ urls: { source: string; target: string }; stop: () => void }> {
  const directory = await mkdtemp(path.join(tmpdir(), "mirrorfs-measure-"));
  useS3Account();
  const start = async (kind: string) => {
    const main = path.join(import.meta.dirname, `../../sandbox/${kind}/main.ts`);
    const args = [main, "--dir", path.join(directory, kind), "--bucket", "mirrorfs-copy"];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await once(child.stdout, "data");
    return { child, ready: JSON.parse(String(line)) };
  };
  const [s3, gcs] = await Promise.all([start("s3"), start("gcs")]);
  useGoogleKey(directory, gcs.ready.credentials);
  return {
    urls: {
      source: `s3://mirrorfs-copy?region=us-east-1&endpoint=${s3.ready.endpoint}`,
      target: `gs://mirrorfs-copy?endpoint=${gcs.ready.endpoint}`,
    },
    stop: () => {
      for (const { child } of [s3, gcs]) child.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** `node test/mirror-agent/measure-copy.ts [file|clouds]` */
if (import.meta.main) {
  const services = process.argv[2] === "clouds" ? await clouds() : undefined;
  for (const options of [
    { slices: 64, bytes: 4 * 1024 * 1024, concurrency: 32 },
    { slices: 1000, bytes: 64 * 1024, concurrency: 32 },
    { slices: 1500, bytes: 8 * 1024, concurrency: 32 },
  ])
    console.log(options, await measureCopy({ ...options, urls: services?.urls }));
  services?.stop();
}
