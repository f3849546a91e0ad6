import { randomBytes } from "node:crypto";
import type { Command } from "../../core/commands.ts";
import type { ByteString, Inode } from "../../core/ids.ts";
import { ROOT_INODE } from "../../core/ids.ts";
import { Freshness, Status } from "../../proto/generated/metadata.ts";
import { outcomeOf, type RawClient } from "../meta-server/raw-client.ts";
import { type Baseline, echo, fdatasyncMs, levelSync } from "./baselines.ts";
import { onGroup } from "./group.ts";
import { AT_ONCE, atOnce, oneAtATime } from "./load.ts";
import { percentile, type Row, row } from "./row.ts";

const DIRECTORIES = 1_000;
const NAMED = 20_000;
const OTHERS_MS_MAX = 10_000;
const LISTED = 10_000;
const LISTINGS = 20;
const PAGE = 1_024;

interface Limits {
  /** How long creates are measured. */
  readonly createMs: number;
}

interface Baselines {
  readonly level: Baseline;
  readonly echo: Baseline;
}

/** Measures a region's metadata servers without a mirror, with 3 replicas and with 1, over one client's stream. */
export async function metadata(limits: Limits): Promise<Row[]> {
  const baselines = { level: await levelSync(), echo: await echo() };
  const othersMs = Math.min(limits.createMs, OTHERS_MS_MAX);
  const rows = [
    row("fdatasync", fdatasyncMs(), "ms"),
    row("level-sync-64", baselines.level.perSecond, "/s"),
    row("level-sync-1", baselines.level.p50Ms, "ms"),
    row("echo-64", baselines.echo.perSecond, "/s"),
    row("echo-1", baselines.echo.p50Ms, "ms"),
  ];
  const replicated = await onGroup({ members: 3 }, async (group) => {
    const client = await group.connect();
    const changed = await changes(client, limits, baselines);
    const read = await lookups(client, othersMs, { suffix: "-read-index", lookupMs: 0.25 }, baselines);
    client.close();
    return [...changed, ...read];
  });
  const leased = await onGroup({ members: 3, lease: true }, async (group) => {
    const client = await group.connect();
    const read = await lookups(client, othersMs, { suffix: "", lookupMs: 0.12 }, baselines);
    client.close();
    return read;
  });
  const single = await onGroup({ members: 1 }, async (group) => {
    const client = await group.connect();
    const changed = await changes(client, { createMs: othersMs }, baselines);
    const read = await lookups(client, othersMs, { suffix: "", lookupMs: 0.12 }, baselines);
    client.close();
    return [...changed, ...read];
  });
  return [...rows, ...replicated, ...leased, ...single.map(ofOneReplica)];
}

/** The aims are for three replicas. */
function ofOneReplica(it: Row): Row {
  const [id, percentile] = it.id.split(".");
  return { ...it, id: [`${id}-r1`, percentile].filter(Boolean).join("."), aim: null, met: null };
}

async function changes(client: RawClient, { createMs }: Limits, { level }: Baselines): Promise<Row[]> {
  const directories = await makeDirectories(client);
  const create = (i: number) => client.make(directories[i % DIRECTORIES]!, incompressible());
  const createTimes = await oneAtATime(create);
  const creates = await atOnce(AT_ONCE, createMs, create);
  const changed = await renameAndUnlink(client, directories);
  const listTimes = await listLarge(client);
  return [
    row("create-64", creates, "/s", { better: "more", value: 12_000 }, level.perSecond),
    row("create-1", percentile(createTimes, 0.5), "ms", { better: "less", value: 0.65 }, level.p50Ms),
    row("create-1.p99", percentile(createTimes, 0.99), "ms"),
    row("rename-unlink-64", changed, "/s"),
    row("readdir-plus-10k", percentile(listTimes, 0.5), "ms"),
  ];
}

async function lookups(
  client: RawClient,
  forMs: number,
  { suffix, lookupMs }: { suffix: string; lookupMs: number },
  baselines: Baselines,
): Promise<Row[]> {
  const directories = await makeDirectories(client);
  const names = await makeNamed(client, directories);
  const lookup = async (i: number) => {
    const at = i % NAMED;
    const found = await client.lookup(directories[at % DIRECTORIES]!, names[at]!);
    if (typeof found === "string") throw new Error(`lookup: ${found}`);
  };
  const times = await oneAtATime(lookup);
  const perSecond = await atOnce(AT_ONCE, forMs, lookup);
  return [
    row(`lookup-64${suffix}`, perSecond, "/s", { better: "more", value: 100_000 }, baselines.echo.perSecond),
    row(`lookup-1${suffix}`, percentile(times, 0.5), "ms", { better: "less", value: lookupMs }, baselines.echo.p50Ms),
    row(`lookup-1${suffix}.p99`, percentile(times, 0.99), "ms"),
  ];
}

/** A random name, so that neither the log nor a table can be compressed. */
function incompressible(): string {
  return randomBytes(18).toString("base64url");
}

async function makeDirectories(client: RawClient): Promise<Inode[]> {
  const made = Array.from({ length: DIRECTORIES }, () => client.make(ROOT_INODE, incompressible(), "directory"));
  return (await Promise.all(made)).map((it) => it.inode);
}

/** Creates files. @returns their names; file i is in directory i modulo DIRECTORIES. */
async function makeNamed(client: RawClient, directories: readonly Inode[]): Promise<string[]> {
  const names = Array.from({ length: NAMED }, incompressible);
  for (let from = 0; from < NAMED; from += DIRECTORIES) {
    await Promise.all(names.slice(from, from + DIRECTORIES).map((name, i) => client.make(directories[i]!, name)));
  }
  return names;
}

/** Renames each file to another directory, then unlinks it. @returns commands per second. */
async function renameAndUnlink(client: RawClient, directories: readonly Inode[]): Promise<number> {
  const names = await makeNamed(client, directories);
  const startedMs = performance.now();
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < names.length; at = next++) {
      const from = { parent: directories[at % DIRECTORIES]!, name: names[at] as ByteString };
      const to = { parent: directories[(at + 1) % DIRECTORIES]!, name: incompressible() as ByteString };
      await done(client, { kind: "rename", ...from, newParent: to.parent, newName: to.name, mode: "replace" });
      await done(client, { kind: "unlink", ...to });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return (2 * names.length) / ((performance.now() - startedMs) / 1_000);
}

async function done(client: RawClient, command: Command): Promise<void> {
  const outcome = outcomeOf(await client.mutate(command));
  if (!outcome.ok) throw new Error(`${command.kind}: ${outcome.error}`);
}

/**
 * Lists a directory of 10,000 files with their attributes, page by page.
 * @returns how long each listing took, in ms.
 */
async function listLarge(client: RawClient): Promise<number[]> {
  const directory = (await client.make(ROOT_INODE, "large", "directory")).inode;
  for (let made = 0; made < LISTED; made += 1_000) {
    await Promise.all(Array.from({ length: 1_000 }, () => client.make(directory, incompressible())));
  }
  const times: number[] = [];
  for (let i = 0; i < LISTINGS; i++) {
    const startedMs = performance.now();
    const listed = await list(client, directory);
    times.push(performance.now() - startedMs);
    if (listed !== LISTED) throw new Error(`${listed} entries were listed`);
  }
  return times;
}

async function list(client: RawClient, inode: Inode): Promise<number> {
  let listed = 0;
  for (let after: Buffer = Buffer.alloc(0); ; ) {
    const value = { inode, after, limit: PAGE, attributes: true };
    const page = await client.ask({ $case: "readDirectory", value }, Freshness.TOKEN);
    if (page.status !== Status.OK) throw new Error(`readDirectory: ${page.error}`);
    listed += page.entries.length;
    if (page.end) return listed;
    after = page.entries.at(-1)!.name;
  }
}
