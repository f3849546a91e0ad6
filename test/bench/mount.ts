import { join } from "node:path";
import { dropPagesOf, remount, withoutAgents } from "./caches.ts";
import { onCloud } from "./cloud.ts";
import { type Row, row } from "./row.ts";
import { succeed } from "./succeed.ts";

const MIB = 1024 * 1024;

/**
 * Measures large sequential reads and writes through a mount, with directories as buckets. seq-read is from a bucket whose
 * files the kernel has no page of, as from a local file of which it has none; warm-read is the same once more.
 */
export async function mount({ fileMib }: { readonly fileMib: number }): Promise<Row[]> {
  return await onCloud({ replicas: 1, wanMs: 0, buckets: "file" }, async (on) => {
    const local = join(on.scratch, "file");
    const mounted = join(on.cloud.places.mountPoint("aws"), "file");
    const rate = async (...command: string[]) => (fileMib * MIB) / 1_000 / (await milliseconds(command));
    const write = (path: string) => rate("dd", "if=/dev/zero", `of=${path}`, "bs=1M", `count=${fileMib}`, "conv=fsync");
    const read = (path: string) => rate("dd", `if=${path}`, "of=/dev/null", "bs=1M");
    return await withoutAgents(on, async () => {
      const localWrite = await write(local);
      const seqWrite = await write(mounted);
      await remount(on, "aws");
      for (const directory of [on.scratch, on.cloud.places.bucket("aws")]) await dropPagesOf(directory);
      const seqRead = await read(mounted);
      const warmRead = await read(mounted);
      const localRead = await read(local);
      const localWarm = await read(local);
      return [
        row("seq-write", seqWrite, "MB/s", { better: "more", value: 600 }, localWrite),
        row("seq-read", seqRead, "MB/s", { better: "more", value: 1_200 }, localRead),
        row("warm-read", warmRead, "MB/s", { better: "more", value: 0.8 * localWarm }, localWarm),
      ];
    });
  });
}

async function milliseconds([command, ...args]: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  await succeed(command!, args);
  return performance.now() - startedMs;
}
