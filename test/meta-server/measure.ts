/**
 * Measures the metadata servers: `node test/meta-server/measure.ts [seconds] [members] [lease]` prints creates and lookups a
 * second at a group of processes, and the processor time of one request in each process (µs, all threads).
 * `MEASURE_PROFILE=DIR` writes a CPU profile of each server to DIR.
 */
import { readFileSync } from "node:fs";
import { ROOT_INODE } from "../../core/ids.ts";
import { Freshness } from "../../proto/generated/metadata.ts";
import { onGroup } from "../bench/group.ts";
import { percentile } from "../bench/row.ts";

const IN_FLIGHT = 64;
const DIRECTORIES = 1_000;
const ONE_AT_A_TIME = 2_000;
/** A tick of Linux's USER_HZ. */
const TICK_US = 10_000;

interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  /** One number for each process, this one first. */
  readonly cpuUs: readonly number[];
}

/** Keeps `inFlight` calls of `one` under way until the time or the count is reached. */
async function run(
  pids: readonly number[],
  limits: { readonly inFlight: number; readonly seconds?: number; readonly count?: number },
  one: (n: number) => Promise<unknown>,
): Promise<Measured> {
  const cpuBefore = pids.map(cpuUs);
  const startMs = performance.now();
  const endMs = startMs + (limits.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const tookMs: number[] = [];
  let next = 0;
  const worker = async () => {
    while (performance.now() < endMs && next < (limits.count ?? Number.POSITIVE_INFINITY)) {
      const askedMs = performance.now();
      await one(next++);
      tookMs.push(performance.now() - askedMs);
    }
  };
  await Promise.all(Array.from({ length: limits.inFlight }, worker));
  const perSecond = next / ((performance.now() - startMs) / 1000);
  return {
    perSecond,
    p50Ms: percentile(tookMs, 0.5),
    cpuUs: pids.map((pid, i) => (cpuUs(pid) - cpuBefore[i]!) / next),
  };
}

function cpuUs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

function line(name: string, { perSecond, p50Ms, cpuUs: each }: Measured): string {
  const sum = each.reduce((a, b) => a + b, 0);
  const [client, ...servers] = each.map((us) => us.toFixed(0));
  const rate = `${perSecond.toFixed(0)}/s`.padStart(9);
  return `${name.padEnd(10)} ${rate}  p50 ${p50Ms.toFixed(3)} ms  cpu ${sum.toFixed(0)} µs (client ${client}, servers ${servers.join(" ")})\n`;
}

async function measure(seconds: number, members: number, lease: boolean): Promise<void> {
  const profile = process.env.MEASURE_PROFILE;
  const environment: Record<string, string> =
    profile === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` };
  await onGroup({ members, lease, environment }, async (group) => {
    const client = await group.connect();
    const pids = [process.pid, ...group.pids];
    const made = Array.from({ length: DIRECTORIES }, (_, i) => client.make(ROOT_INODE, `d${i}`, "directory"));
    const directories = await Promise.all(made);
    const parent = (n: number) => directories[n % DIRECTORIES]!.inode;
    const report = async (name: string, ...args: [Parameters<typeof run>[1], Parameters<typeof run>[2]]) => {
      process.stdout.write(line(name, await run(pids, ...args)));
    };
    const one = { inFlight: 1, count: ONE_AT_A_TIME };
    await report("create-1", one, (n) => client.make(parent(n), `one${n}`));
    await report("create-64", { inFlight: IN_FLIGHT, seconds }, (n) => client.make(parent(n), `f${n}`));
    const name = (n: number) => [parent(n % 5_000), `f${n % 5_000}`] as const;
    await report("lookup-64", { inFlight: IN_FLIGHT, seconds: 3 }, (n) => client.lookup(...name(n)));
    await report("lookup-1", one, (n) => client.lookup(...name(n), Freshness.TOKEN));
    client.close();
  });
}

const [seconds, members, lease] = process.argv.slice(2);
await measure(Number(seconds ?? 5), Number(members ?? 3), lease === "lease");
