import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { callLeader, waitAtLeader } from "../../admin/client.ts";
import type { RegionName } from "../../sandbox/layout.ts";
import { ROOT } from "../rules/source-files.ts";
import { dropKernelCaches, remount } from "./caches.ts";
import { type BenchCloud, onCloud } from "./cloud.ts";
import { mdtest, type Rates } from "./mdtest.ts";
import { type Row, row } from "./row.ts";
import { succeed, succeedIn } from "./succeed.ts";

const RTT_MS = 80;
const COPY_MS_MAX = 1_800_000;

export interface FilesSizes {
  /** Files of each task of mdtest. */
  readonly files: number;
  /** A package of node_modules: the real tree. */
  readonly tree: string;
  readonly randomMib: number;
  readonly randomSeconds: number;
}

/** A place to measure: a directory, and how everything that is cached of it is forgotten. */
interface Place {
  readonly directory: string;
  readonly forget: () => Promise<void>;
}

type Places = Readonly<Record<"ext4" | "near" | "far", Place>>;

/**
 * What programs do with files: on the local disk ("ext4": what the scratch directory is on), in the primary's region (near), and
 * in a mirror's region with a round trip of 80 ms between the two (far). Each after the other, in one run.
 */
export async function files(sizes: FilesSizes): Promise<Row[]> {
  return await onCloud({ replicas: 3, wanMs: RTT_MS / 2, buckets: "cloud" }, async (on) => {
    const places = placesOf(on);
    return [
      ...(await smallFiles(places, sizes.files, 1)),
      ...(await smallFiles(places, sizes.files, 8)),
      ...(await programs(on, places, join(ROOT, "node_modules", sizes.tree))),
      ...(await randomReads(on, places, sizes)),
    ];
  });
}

function placesOf(on: BenchCloud): Places {
  const mounted = (region: RegionName): Place => ({
    directory: join(on.cloud.places.mountPoint(region), region),
    forget: async () => {
      await remount(on, region);
      await dropKernelCaches();
    },
  });
  const local: Place = { directory: join(on.scratch, "local"), forget: dropKernelCaches };
  return { ext4: local, near: mounted("aws"), far: mounted("gcp") };
}

async function smallFiles(places: Places, files: number, tasks: number): Promise<Row[]> {
  const measure = async ({ directory, forget }: Place): Promise<Rates> =>
    await mdtest(join(directory, `mdtest-${tasks}`), { tasks, files: Math.ceil(files / tasks), forget });
  const ext4 = await measure(places.ext4);
  const rows: Row[] = [];
  for (const where of ["near", "far"] as const) {
    const rates = await measure(places[where]);
    for (const phase of ["create", "stat", "read", "remove"] as const)
      rows.push(row(`${phase}-${tasks}-${where}`, rates[phase], "/s", undefined, ext4[phase]));
  }
  return rows;
}

/** Each command is a shell's, in the place's directory; `$1` is a tree outside. All but `cp` find nothing cached. */
const PROGRAMS = [
  { id: "cp-a", command: 'cp -a "$1" tree', cold: false },
  // GNU tar reads no file when its output is /dev/null.
  { id: "tar", command: "tar cf - tree | cat > /dev/null", cold: true },
  { id: "find", command: 'find tree -printf "%s\\n" > /dev/null', cold: true },
  { id: "rm-rf", command: "rm -rf tree", cold: true },
] as const;

async function programs(on: BenchCloud, places: Places, source: string): Promise<Row[]> {
  const measure = async (place: Place, { command, cold }: (typeof PROGRAMS)[number]): Promise<number> => {
    await mkdir(place.directory, { recursive: true });
    if (cold) await place.forget();
    const startedMs = performance.now();
    await succeedIn(place.directory, command, [source]);
    return performance.now() - startedMs;
  };
  const rows: Row[] = [];
  for (const program of PROGRAMS) {
    const ext4 = await measure(places.ext4, program);
    for (const where of ["near", "far"] as const) {
      rows.push(row(`${program.id}-${where}`, await measure(places[where], program), "ms", undefined, ext4));
      await untilCopied(on);
    }
  }
  return rows;
}

/** Reads 4 KiB at random offsets of one file, one read at a time, with nothing cached at first: reads a second, by fio. */
async function randomReads(on: BenchCloud, places: Places, sizes: FilesSizes): Promise<Row[]> {
  for (const { directory } of [places.ext4, places.near]) {
    await succeed("dd", ["if=/dev/urandom", `of=${join(directory, "random")}`, "bs=1M", `count=${sizes.randomMib}`]);
  }
  await untilCopied(on);
  const measure = async ({ forget }: Place, file: string): Promise<number> => {
    await forget();
    const how = ["--rw=randread", "--bs=4k", "--ioengine=psync", "--time_based", `--runtime=${sizes.randomSeconds}`];
    const args = ["--name=random", `--filename=${file}`, "--readonly", ...how, "--output-format=json"];
    return JSON.parse(await succeed("fio", args)).jobs[0].read.iops;
  };
  const ext4 = await measure(places.ext4, join(places.ext4.directory, "random"));
  const near = await measure(places.near, join(places.near.directory, "random"));
  // The same file, from the mirror's own bucket.
  const far = await measure(places.far, join(on.cloud.places.mountPoint("gcp"), "aws", "random"));
  return [row("random-read-near", near, "/s", undefined, ext4), row("random-read-far", far, "/s", undefined, ext4)];
}

/** Waits until the mirror's bucket has every block, so that no agent is at work beside what is measured. */
async function untilCopied({ volume }: BenchCloud): Promise<void> {
  const name = volume.volume;
  const primary = volume.regions.get("aws")!;
  const { version: atLeast } = await callLeader(volume, primary, "info", { volume: name, path: "/" }, 5_000);
  const request = { volume: name, path: "/", atLeast };
  for await (const progress of waitAtLeader(volume, volume.regions.get("gcp")!, request, COPY_MS_MAX))
    if (progress.done) return;
  throw new Error("the mirror has not copied all blocks in time");
}
