import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "../e2e/cloud.ts";
import { type BenchCloud, onCloud } from "./cloud.ts";
import { type Row, row } from "./row.ts";

const MIB = 1024 * 1024;
const FILE_MIB = 1024;

/** Measures large sequential reads and writes through a mount, with directories as buckets. */
export async function mount(): Promise<Row[]> {
  return await onCloud({ replicas: 1, wanMs: 0, buckets: "file" }, async (on) => {
    const local = join(on.scratch, "file");
    const mounted = join(on.cloud.places.mountPoint("aws"), "file");
    const localWrite = await write(local);
    const seqWrite = await write(mounted);
    await remount(on);
    const seqRead = await read(mounted);
    const warmRead = await read(mounted);
    await run("sh", ["-c", "echo 1 > /proc/sys/vm/drop_caches"]);
    const localRead = await read(local);
    const localWarm = await read(local);
    return [
      row("seq-write", seqWrite, "MB/s", { better: "more", value: 600 }, localWrite),
      row("seq-read", seqRead, "MB/s", { better: "more", value: 1_200 }, localRead),
      row("warm-read", warmRead, "MB/s", { better: "more", value: 0.8 * localWarm }, localWarm),
    ];
  });
}

async function write(path: string): Promise<number> {
  return await rate(["dd", "if=/dev/zero", `of=${path}`, "bs=1M", `count=${FILE_MIB}`, "conv=fsync"]);
}

async function read(path: string): Promise<number> {
  return await rate(["dd", `if=${path}`, "of=/dev/null", "bs=1M"]);
}

async function rate([command, ...args]: string[]): Promise<number> {
  const startedMs = performance.now();
  const ran = await run(command!, args, { timeoutMs: 300_000 });
  if (ran.code !== 0) throw new Error(`${command}: ${ran.stderr}`);
  return (FILE_MIB * MIB) / 1_000 / (performance.now() - startedMs);
}

/** Remounts with empty caches, so that all data is in the bucket alone. */
async function remount({ cloud }: BenchCloud): Promise<void> {
  await cloud.supervisor.end("aws-mount");
  rmSync(cloud.places.cache("aws"), { recursive: true });
  mkdirSync(cloud.places.cache("aws"));
  await cloud.supervisor.revive(["aws-mount"]);
}
