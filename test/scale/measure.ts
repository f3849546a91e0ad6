/**
 * Measures a volume with many inodes: memory, start time, rates compared with an empty volume's, a large listing, and a
 * mirror's bootstrap.
 *
 *     npm run scale -- [--inodes 10000000] [--big 1000000] [--seconds 15] [--data DIR]
 *
 * `--data`: keeps the generated volume in DIR and reuses it; by default it is generated anew and removed.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { table } from "../../bin/text.ts";
import { ROOT_INODE } from "../../core/ids.ts";
import { Freshness, Status } from "../../proto/generated/metadata.ts";
import { atOnce } from "../bench/load.ts";
import type { RawClient } from "../meta-server/raw-client.ts";
import { randomFrom } from "../random.ts";
import { DIRECTORY_FILES, fileName, type Generated, generate } from "./generate.ts";
import { anonymousMib, type RunningServer, ScaleVolume } from "./servers.ts";

const AT_ONCE = 64;
const DIRECTORIES = 1_000;
const LOOKED_UP = 50_000;
const PAGE = 4_096;
const MEMORY_MIB_MAX = 1_024;
const START_MS_MAX = 10_000;
const RATE_MIN = 0.8;
const BOOTSTRAP_MS_MAX = 3_600_000;

interface Line {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly aim?: { readonly least?: number; readonly most?: number };
}

interface Rates {
  /** Creates per second at first, while each directory is read for the first time. */
  readonly firstCreates: number;
  readonly creates: number;
  readonly lookups: number;
}

const { values } = parseArgs({
  options: {
    inodes: { type: "string", default: "10000000" },
    big: { type: "string", default: "1000000" },
    seconds: { type: "string", default: "15" },
    data: { type: "string" },
  },
});
const inodes = Number(values.inodes);
const bigDirectory = Math.min(Number(values.big), Math.floor(inodes / 2));
const forMs = Number(values.seconds) * 1_000;
const startedMs = performance.now();
const lines: Line[] = [];
const work = mkdtempSync(join(tmpdir(), "mirrorfs-scale-"));

function progress(text: string): void {
  process.stderr.write(`${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7)} s  ${text}\n`);
}

function report(what: string, value: number, unit: string, aim?: Line["aim"]): void {
  progress(`${what}: ${shown(value)} ${unit}`);
  lines.push({ what, value, unit, ...(aim && { aim }) });
}

try {
  await measure();
} finally {
  rmSync(work, { recursive: true, force: true });
}
const cells = lines.map(({ what, value, unit, aim }) => [what, shown(value), unit, aimText(aim), met(value, aim)]);
process.stdout.write(table(["what", "value", "unit", "aim", "met"], cells));
process.exit();

async function measure(): Promise<void> {
  const volume = await ScaleVolume.in(work);
  const kept = await generated();
  const dataDir = join(work, "aws");
  progress("copying");
  cpSync(kept.dataDir, dataDir, { recursive: true });
  const empty = await onEmpty();
  const server = await start(volume, dataDir);
  const client = await server.connect();
  report("rss-anon-start", server.takePeakMib(), "MiB", { most: MEMORY_MIB_MAX });
  const full = await rates(client, kept.volume.directories.slice(0, DIRECTORIES));
  report("create-64-first", full.firstCreates, "/s");
  report("create-64", full.creates, "/s", { least: RATE_MIN * empty.creates });
  report("lookup-64", full.lookups, "/s", { least: RATE_MIN * empty.lookups });
  report("lookup-64-anywhere", await lookupsAnywhere(client, kept.volume.directories), "/s");
  report("rss-anon-load", server.takePeakMib(), "MiB", { most: MEMORY_MIB_MAX });
  await list(client, kept.volume.big, server);
  client.close();
  await bootstrap(volume, server);
  await server.stop();
}

async function generated(): Promise<{ dataDir: string; volume: Generated }> {
  const directory = values.data ?? join(work, "generated");
  const description = join(directory, "generated.json");
  const dataDir = join(directory, "data");
  if (existsSync(description)) return { dataDir, volume: JSON.parse(readFileSync(description, "utf8")) };
  mkdirSync(directory, { recursive: true });
  let reported = 0;
  const onProgress = (made: number) => {
    if (made - reported < inodes / 20) return;
    reported = made;
    progress(`${made} of ${inodes} inodes`);
  };
  const beganMs = performance.now();
  const plan = { volume: "scale", regions: ["aws", "gcp"], region: "aws", member: 1, dataDir, inodes, bigDirectory };
  const volume = await generate({ ...plan, onProgress });
  report("generate", inodes / ((performance.now() - beganMs) / 1_000), "inodes/s");
  writeFileSync(description, JSON.stringify(volume));
  return { dataDir, volume };
}

/** Measures an empty volume in the same run. */
async function onEmpty(): Promise<Rates> {
  const directory = join(work, "empty");
  mkdirSync(directory);
  const volume = await ScaleVolume.in(directory);
  const server = await volume.start("aws", join(directory, "aws"), (status) => status.role === "primary");
  const client = await server.connect();
  const made = Array.from({ length: DIRECTORIES }, (_, i) => client.make(ROOT_INODE, `directory-${i}`, "directory"));
  const result = await rates(
    client,
    (await Promise.all(made)).map((it) => it.inode),
  );
  report("empty: create-64-first", result.firstCreates, "/s");
  report("empty: create-64", result.creates, "/s");
  report("empty: lookup-64", result.lookups, "/s");
  report("empty: rss-anon-load", server.takePeakMib(), "MiB");
  client.close();
  await server.stop();
  return result;
}

async function start(volume: ScaleVolume, dataDir: string): Promise<RunningServer> {
  const beganMs = performance.now();
  const server = await volume.start("aws", dataDir, (status) => status.isLeader && status.role === "primary");
  report("start", performance.now() - beganMs, "ms", { most: START_MS_MAX });
  return server;
}

/** Measures creates in these directories, then lookups of the new names. */
async function rates(client: RawClient, directories: readonly number[]): Promise<Rates> {
  const parent = (i: number) => directories[i % directories.length]!;
  let made = 0;
  const create = async (i: number) => {
    await client.make(parent(i), `new-${i}`);
    made = Math.max(made, i + 1);
  };
  const firstCreates = await atOnce(AT_ONCE, forMs, create);
  const before = made;
  const creates = await atOnce(AT_ONCE, forMs, (i) => create(before + i));
  const count = Math.min(made, LOOKED_UP) - AT_ONCE;
  const lookups = await atOnce(AT_ONCE, forMs, (i) => lookup(client, parent(i % count), `new-${i % count}`));
  return { firstCreates, creates, lookups };
}

async function lookup(client: RawClient, parent: number, name: string): Promise<void> {
  const found = await client.lookup(parent, name);
  if (typeof found === "string") throw new Error(`lookup of ${name} in ${parent}: ${found}`);
}

/** Looks up random files: hardly any twice. @returns lookups per second. */
function lookupsAnywhere(client: RawClient, directories: readonly number[]): Promise<number> {
  const random = randomFrom(7);
  const any = (count: number) => Math.floor(random() * count);
  const one = () => lookup(client, directories[any(directories.length)]!, fileName(any(DIRECTORY_FILES)));
  return atOnce(AT_ONCE, forMs, one);
}

async function list(client: RawClient, inode: number, server: RunningServer): Promise<void> {
  const before = { server: server.anonymousMib(), client: anonymousMib(process.pid) };
  server.takePeakMib();
  const beganMs = performance.now();
  let [entries, pages, clientMib] = [0, 0, 0];
  for (let after = Buffer.alloc(0), end = false; !end; pages += 1) {
    const value = { inode, after, limit: PAGE, attributes: true };
    const page = await client.ask({ $case: "readDirectory", value }, Freshness.COMMITTED);
    if (page.status !== Status.OK || page.entries.length > PAGE) throw new Error(`listing: ${page.error}`);
    entries += page.entries.length;
    end = page.end;
    after = (page.entries.at(-1)?.name ?? after) as Buffer<ArrayBuffer>;
    clientMib = Math.max(clientMib, anonymousMib(process.pid));
  }
  if (entries !== bigDirectory) throw new Error(`the listing has ${entries} entries, not ${bigDirectory}`);
  report("list-big", entries / ((performance.now() - beganMs) / 1_000), "entries/s");
  report("list-big-pages", pages, "pages");
  report("list-big-server-growth", server.takePeakMib() - before.server, "MiB");
  report("list-big-client-growth", clientMib - before.client, "MiB");
}

/** Starts a second region with an empty disk, and measures its bootstrap. */
async function bootstrap(volume: ScaleVolume, primary: RunningServer): Promise<void> {
  primary.takePeakMib();
  const beganMs = performance.now();
  const dataDir = join(work, "gcp");
  const mirror = await volume.start("gcp", dataDir, () => true);
  try {
    for (let reported = 0; ; ) {
      const [there, here] = [await mirror.status(), await primary.status()];
      if (there.role === "mirror" && there.stateHash === here.stateHash) break;
      const tookMs = performance.now() - beganMs;
      if (tookMs > BOOTSTRAP_MS_MAX) throw new Error(`the mirror did not catch up: ${there.message}`);
      if (tookMs - reported > 10_000) {
        reported = tookMs;
        const memory = `${shown(primary.anonymousMib())} MiB at the primary, ${shown(mirror.anonymousMib())} MiB here`;
        progress(`${there.message}; ${memory}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    report("bootstrap", inodes / ((performance.now() - beganMs) / 1_000), "inodes/s");
    report("bootstrap-rss-anon-primary", primary.takePeakMib(), "MiB", { most: MEMORY_MIB_MAX });
    report("bootstrap-rss-anon-mirror", mirror.takePeakMib(), "MiB", { most: MEMORY_MIB_MAX });
  } finally {
    await mirror.stop();
  }
  const stoppedMs = performance.now();
  const again = await volume.start("gcp", dataDir, (status) => status.isLeader && status.role === "mirror");
  report("bootstrap-restart", performance.now() - stoppedMs, "ms", { most: START_MS_MAX });
  await again.stop();
}

function shown(value: number): string {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function aimText(aim: Line["aim"]): string {
  if (aim?.most !== undefined) return `≤ ${shown(aim.most)}`;
  return aim?.least !== undefined ? `≥ ${shown(aim.least)}` : "";
}

function met(value: number, aim: Line["aim"]): string {
  if (aim === undefined) return "";
  return value <= (aim.most ?? value) && value >= (aim.least ?? value) ? "yes" : "no";
}
