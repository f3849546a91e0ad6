import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort, until } from "../meta-server/harness.ts";

const MIRRORFS = resolve("bin/mirrorfs");
const run = promisify(execFile);

let directory: string;
let file: string;
const servers = new Map<number, ChildProcess>();
/** What each has logged. */
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

/** @returns its exit code */
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

async function led(): Promise<number> {
  return await until("a leader", async () => (await list().catch(() => [])).find(({ leader }) => leader)?.id);
}

test("a server is added, promoted, and another takes its leave, by the command line alone", async () => {
  const meta = [];
  for (let i = 0; i < 4; i++) meta.push(`127.0.0.1:${await freePort()}`);
  await describe(meta.slice(0, 3));
  for (const id of [1, 2, 3]) start(id);
  await led();
  expect(await members()).toEqual(["1 voter", "2 voter", "3 voter"]);

  const added = await mirrorfs("member", "add", "--region", "aws", "--address", meta[3]!, "--json");
  expect(JSON.parse(added)).toEqual({ id: 4, address: meta[3] });
  await expect(mirrorfs("member", "add", "--region", "aws", "--address", meta[3]!)).rejects.toMatchObject({
    code: 1,
    stderr: `mirrorfs: aws: ${meta[3]} is member 4 already\n`,
  });
  await describe(meta);
  start(4, "--join");
  await until("the learner", async () => (await members()).at(-1) === "4 learner");
  expect(await mirrorfs("member", "promote", "--region", "aws", "--id", "4")).toBe("member 4 of aws votes\n");

  const leader = await led();
  await mirrorfs("member", "remove", "--region", "aws", "--id", String(leader));
  await describe(meta.map((address, i) => (i + 1 === leader ? "-" : address)));
  const next = await led();
  expect(next).not.toBe(leader);
  expect(await members()).toEqual([1, 2, 3, 4].filter((id) => id !== leader).map((id) => `${id} voter`));
  expect(await stop(leader)).toBe(0);

  // Every one of the three comes back from its disk and knows the members.
  for (const id of [1, 2, 3, 4].filter((one) => one !== leader)) expect(await stop(id)).toBe(0);
  for (const id of [1, 2, 3, 4].filter((one) => one !== leader)) start(id);
  const third = await led();
  expect(await members()).toHaveLength(3);

  // SIGTERM hands over before the end: the next leader stands because it was told to, not because it waited in vain.
  for (const id of logs.keys()) logs.set(id, "");
  expect(await stop(third)).toBe(0);
  const fourth = await led();
  expect(logs.get(fourth)).toContain('"role":"candidate"');
  expect([...logs.values()].join()).not.toContain("pre-candidate");

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
