import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { callLeader, waitAtLeader } from "../../admin/client.ts";
import { ROOT_INODE } from "../../core/ids.ts";
import { PromoteRequest } from "../../proto/generated/admin.ts";
import { Freshness } from "../../proto/generated/metadata.ts";
import { run } from "../e2e/cloud.ts";
import type { RawClient } from "../meta-server/raw-client.ts";
import { clouds, measureCopy } from "../mirror-agent/measure-copy.ts";
import { dropKernelCaches, remount } from "./caches.ts";
import { type BenchCloud, connectToLeader, onCloud } from "./cloud.ts";
import { percentile, type Row, row } from "./row.ts";
import { succeed, succeedIn } from "./succeed.ts";

const RTT_MS = 80;
const CREATES = 400;
const CREATE_PAUSE_MS = 20;
const FILES = 40;
const FILE_BYTES = 1_000_000;
const MIB = 1024 * 1024;
const PARTITION_MS = 15_000;

/** Measures two regions with a round trip of 80 ms between them. */
export async function mirror({ smallFiles }: { readonly smallFiles: number }): Promise<Row[]> {
  const overWan = await onCloud({ replicas: 3, wanMs: RTT_MS / 2, buckets: "cloud" }, async (on) => {
    const primary = await connectToLeader(on, "aws");
    const away = await connectToLeader(on, "gcp", "mirror");
    const metaLag = await metadataLag(primary, away);
    const dataLag = await blocksLag(on);
    const open = await openAtMirror(on, smallFiles);
    const catchUp = await catchUpRatio(on, primary, away);
    primary.close();
    away.close();
    const switchover = await switchOver(on);
    const promotion = await promote(on);
    return [
      row("meta-lag-80.p50", percentile(metaLag, 0.5), "ms", { better: "less", value: 60 }, RTT_MS / 2),
      row("meta-lag-80.p99", percentile(metaLag, 0.99), "ms", { better: "less", value: 150 }, RTT_MS / 2),
      row("data-lag-80.p50", percentile(dataLag, 0.5), "ms"),
      row("data-lag-80.p99", percentile(dataLag, 0.99), "ms", { better: "less", value: 2_000 }),
      row("mirror-open-80", open.farMs / open.nearMs, "ratio", { better: "less", value: 1.5 }),
      row("mirror-open-80.far", open.farMs, "ms"),
      row("mirror-open-80.near", open.nearMs, "ms"),
      row("catch-up", catchUp, "ratio", { better: "more", value: 10 }),
      row("switchover", switchover, "ms", { better: "less", value: 1_000 }),
      row("promotion", promotion, "ms", { better: "less", value: 5_000 }),
    ];
  });
  return [...overWan, row("copy", await copyRatio(), "ratio", { better: "more", value: 0.8 })];
}

/** The agent's throughput relative to a plain copy loop's, from a local S3 to a local GCS server. */
async function copyRatio(): Promise<number> {
  const services = await clouds();
  try {
    const measured = await measureCopy({ slices: 64, bytes: 4 * MIB, concurrency: 32, urls: services.urls });
    return measured.ratio;
  } finally {
    services.stop();
  }
}

/** The time from a create's acknowledgement in the primary until the mirror can read it, in ms. */
async function metadataLag(primary: RawClient, away: RawClient): Promise<number[]> {
  const lags: Promise<number>[] = [];
  for (let i = 0; i < CREATES; i++) {
    await primary.make(ROOT_INODE, `lag-${i}`);
    lags.push(seenAway(away, `lag-${i}`));
    await delay(CREATE_PAUSE_MS);
  }
  return await Promise.all(lags);
}

async function seenAway(away: RawClient, name: string): Promise<number> {
  const startedMs = performance.now();
  while (typeof (await away.lookup(ROOT_INODE, name, Freshness.TOKEN)) === "string") await delay(2);
  return performance.now() - startedMs;
}

/** The time from a file's close in the primary until its blocks are in the mirror's own bucket, in ms. */
async function blocksLag({ cloud, volume, scratch }: BenchCloud): Promise<number[]> {
  const source = join(scratch, "block");
  writeFileSync(source, Buffer.alloc(FILE_BYTES, "mirrorfs"));
  const lags: number[] = [];
  for (let i = 0; i < FILES; i++) {
    const copied = await run("cp", [source, join(cloud.places.mountPoint("aws"), `block-${i}`)]);
    if (copied.code !== 0) throw new Error(copied.stderr);
    const startedMs = performance.now();
    const atLeast = (
      await callLeader(
        volume,
        volume.regions.get("aws")!,
        "info",
        { volume: volume.volume, path: `/block-${i}` },
        5_000,
      )
    ).version;
    const request = { volume: volume.volume, path: `/block-${i}`, atLeast };
    for await (const progress of waitAtLeader(volume, volume.regions.get("gcp")!, request, 30_000))
      if (progress.done) break;
    lags.push(performance.now() - startedMs);
  }
  return lags;
}

/**
 * How long one process takes to open, read and close each small file of a directory at the mirror, with the WAN's delay and
 * without: every file, in the order of their names, with nothing cached either time. @returns ms a file
 */
async function openAtMirror(on: BenchCloud, files: number): Promise<{ farMs: number; nearMs: number }> {
  const { cloud } = on;
  const names = Array.from({ length: files }, (_, i) => `${i}`.padStart(6, "0"));
  const made = join(cloud.places.mountPoint("aws"), "small");
  mkdirSync(made);
  for (const name of names) writeFileSync(join(made, name), `${name}\n`);
  const readAll = async (delayMs: number) => {
    cloud.wan.setDelay(delayMs);
    await remount(on, "gcp");
    await dropKernelCaches();
    await succeed("stat", [cloud.places.mountPoint("gcp")]); // so that the new mount is connected
    const startedMs = performance.now();
    const read = await succeedIn(join(cloud.places.mountPoint("gcp"), "small"), 'cat "$@"', names);
    if (read !== names.map((name) => `${name}\n`).join("")) throw new Error("cat read something else");
    return (performance.now() - startedMs) / files;
  };
  const farMs = await readAll(RTT_MS / 2);
  const nearMs = await readAll(0);
  cloud.wan.setDelay(RTT_MS / 2);
  return { farMs, nearMs };
}

/** How much faster a backlog is worked off than it grew. */
async function catchUpRatio({ cloud }: BenchCloud, primary: RawClient, away: RawClient): Promise<number> {
  cloud.wan.cutAll();
  const startedMs = performance.now();
  let made = 0;
  while (performance.now() - startedMs < PARTITION_MS) {
    await Promise.all(Array.from({ length: 16 }, (_, i) => primary.make(ROOT_INODE, `backlog-${made + i}`)));
    made += 16;
    await delay(20);
  }
  cloud.wan.heal();
  const healedMs = performance.now();
  const grewMs = healedMs - startedMs;
  await seenAway(away, `backlog-${made - 1}`);
  return grewMs / (performance.now() - healedMs);
}

async function switchOver({ volume }: BenchCloud): Promise<number> {
  const startedMs = performance.now();
  const request = { volume: volume.volume, to: "gcp", complete: false, timeoutMs: 30_000 };
  const answer = await callLeader(volume, volume.regions.get("aws")!, "switchover", request, 35_000);
  if (!answer.ok) throw new Error(answer.message);
  return performance.now() - startedMs;
}

/** The primary (gcp by now) is killed. @returns the time from the promotion to the first acknowledged write, in ms. */
async function promote(on: BenchCloud): Promise<number> {
  const { cloud, volume } = on;
  await cloud.supervisor.cut(cloud.regionNames("gcp"));
  const startedMs = performance.now();
  const answer = await callLeader(
    volume,
    volume.regions.get("aws")!,
    "promote",
    PromoteRequest.fromPartial({ volume: volume.volume, force: true }),
    35_000,
  );
  if (!answer.ok) throw new Error(answer.message);
  const client = await connectToLeader(on, "aws");
  await client.make(ROOT_INODE, "after-promotion");
  client.close();
  return performance.now() - startedMs;
}
