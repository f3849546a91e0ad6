import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { channelCredentials } from "../../proto/credentials.ts";
import { AdminClient, type RegionStatus } from "../../proto/generated/admin.ts";
import { choosePort } from "../../sandbox/ports.ts";
import { until } from "../support/until.ts";

const MIRRORFS = resolve("bin/mirrorfs");
const run = promisify(execFile);

let directory: string;
let file: string;
const servers = new Map<number, ChildProcess>();
/** The log of each server, by id. */
const logs = new Map<number, string>();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-members-"));
  file = join(directory, "volume.yaml");
});

afterEach(async () => {
  for (const server of servers.values()) server.kill("SIGKILL");
  servers.clear();
  await rm(directory, { recursive: true, force: true });
});

async function describe(meta: readonly string[]): Promise<void> {
  const region = { meta, bucket: `file://${directory}/bucket`, queue: "redis://127.0.0.1:1" };
  await writeFile(file, JSON.stringify({ volume: "v", regions: { aws: region }, primary: "aws" }));
}

function start(id: number, ...more: string[]): void {
  const place = ["--config", file, "--region", "aws", "--id", String(id), "--data", join(directory, String(id))];
  const server = spawn(MIRRORFS, ["meta", ...place, ...more], { stdio: ["ignore", "ignore", "pipe"] });
  server.stderr.on("data", (text) => logs.set(id, logs.get(id) + text));
  logs.set(id, "");
  servers.set(id, server);
}

/** @returns the exit code. */
async function stop(id: number): Promise<number | null> {
  const server = servers.get(id)!;
  const ended = new Promise<number | null>((end) => server.once("exit", end));
  server.kill("SIGTERM");
  return await ended;
}

async function mirrorfs(...args: string[]): Promise<string> {
  return (await run(MIRRORFS, [...args, "--config", file])).stdout;
}

interface Listed {
  readonly id: number;
  readonly membership: string;
  readonly leader: boolean;
  readonly reachable: boolean;
}

const list = async (): Promise<Listed[]> =>
  JSON.parse(await mirrorfs("member", "list", "--region", "aws", "--json")).members;
const members = async () => (await list()).map(({ id, membership }) => `${id} ${membership}`);

/** A direct call: running the command line for each poll would be too slow. */
function statusOf(address: string): Promise<RegionStatus | undefined> {
  const admin = new AdminClient(address, channelCredentials());
  return new Promise((resolve) => {
    admin.status({ volume: "v" }, (error, status) => {
      admin.close();
      resolve(error === null ? status : undefined);
    });
  });
}

async function led(meta: readonly string[]): Promise<number> {
  return await until("a leader", async () => {
    const statuses = await Promise.all(meta.map(statusOf));
    return statuses.find((status) => status?.isLeader)?.member;
  });
}

test("a server is added and promoted, and another one removed, with the command line alone", async () => {
  const meta: string[] = [];
  for (let i = 0; i < 4; i++) meta.push(`127.0.0.1:${await choosePort()}`);
  await describe(meta.slice(0, 3));
  for (const id of [1, 2, 3]) start(id);
  await led(meta);
  const added = await mirrorfs("member", "add", "--region", "aws", "--address", meta[3]!, "--json");
  expect(JSON.parse(added)).toEqual({ id: 4, address: meta[3] });
  await expect(mirrorfs("member", "add", "--region", "aws", "--address", meta[3]!)).rejects.toMatchObject({
    code: 1,
    stderr: `mirrorfs: aws: ${meta[3]} is member 4 already\n`,
  });
  await describe(meta);
  start(4, "--join");
  await until("the learner", async () => (await statusOf(meta[3]!))?.membership === "learner");
  expect(await members()).toEqual(["1 voter", "2 voter", "3 voter", "4 learner"]);
  expect(await mirrorfs("member", "promote", "--region", "aws", "--id", "4")).toBe("member 4 of aws votes\n");

  const leader = await led(meta);
  await mirrorfs("member", "remove", "--region", "aws", "--id", String(leader));
  await describe(meta.map((address, i) => (i + 1 === leader ? "-" : address)));
  const next = await led(meta);
  expect(next).not.toBe(leader);
  expect(await members()).toEqual([1, 2, 3, 4].filter((id) => id !== leader).map((id) => `${id} voter`));
  expect(await stop(leader)).toBe(0);

  // Each of the three restarts from its disk and knows the members.
  const left = [1, 2, 3, 4].filter((one) => one !== leader);
  expect(await Promise.all(left.map(stop))).toEqual([0, 0, 0]);
  for (const id of left) start(id);
  const third = await led(meta);

  expect(await stop(third)).toBe(0);
  expect(logs.get(third)).toContain('"transferred":true');
  expect(await led(meta)).not.toBe(third);

  const again = spawn(MIRRORFS, [
    "meta",
    "--config",
    file,
    "--region",
    "aws",
    "--id",
    `${leader}`,
    "--data",
    "/nowhere",
  ]);
  expect(await new Promise((end) => again.once("exit", end))).toBe(2);
  expect(await readFile(file, "utf8")).toContain('"-"');
});
