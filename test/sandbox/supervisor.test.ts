import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { processesNaming } from "../../sandbox/processes.ts";
import { type ProcessPlan, Supervisor } from "../../sandbox/supervisor.ts";
import { until } from "../support/until.ts";

let dir: string;
let supervisor: Supervisor;
let lines: string[];
let options: ConstructorParameters<typeof Supervisor>[0];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-supervisor-"));
  lines = [];
  options = {
    logDir: join(dir, "log"),
    runDir: join(dir, "run"),
    environment: process.env,
    report: (line) => lines.push(line),
  };
  for (const each of [options.logDir, options.runDir]) mkdirSync(each);
  supervisor = new Supervisor(options);
});

afterEach(async () => {
  await supervisor.stopAll();
  expect(processesNaming(dir)).toEqual([]);
  rmSync(dir, { recursive: true });
});

/** A shell script that creates a file when it is ready, and runs until SIGTERM. */
function plan(name: string, script = "while :; do sleep 0.05; done"): ProcessPlan {
  const sign = join(dir, `${name}.up`);
  return {
    name,
    command: "sh",
    args: ["-c", `trap 'echo ${name} >>${dir}/ended; exit 0' TERM; touch ${sign}; ${script}`],
    ready: async () => existsSync(sign),
    readyMsMax: 5_000,
  };
}

/** Whether a process is running: a zombie is not. */
function runs(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}

it("restarts a process that was killed, and reports it", async () => {
  await supervisor.start(plan("one"));
  const first = supervisor.kill("one");
  expect(first).toBeGreaterThan(0);
  await until("a restart", () => supervisor.pid("one") !== undefined && supervisor.pid("one") !== first);
  expect(supervisor.restarts("one")).toBe(1);
  expect(lines).toContain("one ended (SIGKILL): starting it again");
  expect(readFileSync(join(options.runDir, "one.pid"), "utf8")).toBe(`${supervisor.pid("one")}\n`);
});

it("keeps processes down that were cut, until they are revived", async () => {
  await supervisor.start(plan("one"), plan("two"));
  await supervisor.cut(["one"]);
  await delay(600);
  expect(supervisor.pid("one")).toBeUndefined();
  expect(supervisor.pid("two")).toBeGreaterThan(0);
  await supervisor.revive(["one"]);
  expect(supervisor.pid("one")).toBeGreaterThan(0);
});

it("stops processes in the reverse order of their start", async () => {
  await supervisor.start(plan("one"));
  await supervisor.start(plan("two"));
  await supervisor.stopAll();
  expect(readFileSync(join(dir, "ended"), "utf8")).toBe("two\none\n");
  expect(existsSync(join(options.runDir, "one.pid"))).toBe(false);
});

it("reports the error message of a process that could not start", async () => {
  const failing = { ...plan("bad", "echo 'mirrorfs: port 1 is in use' >&2; exit 1"), ready: async () => false };
  await expect(supervisor.start(failing)).rejects.toThrow(/^bad: port 1 is in use$/);
});

it("names the log of a process that printed no error, and of one that is not ready in time", async () => {
  const silent = { ...plan("silent", "exit 3"), ready: async () => false };
  await expect(supervisor.start(silent)).rejects.toThrow(/^silent: ended before it was ready \(log: .*silent\.log\)$/);
  const slow = { ...plan("slow"), ready: async () => false, readyMsMax: 1_500 };
  await expect(supervisor.start(slow)).rejects.toThrow(/^slow: not ready after 1\.5 s/);
  expect(lines).toContain("waiting for slow (1 s)");
});

/** A supervisor in a process of its own, with one child that outlives the test unless it is ended. */
function spawnParent(environment: NodeJS.ProcessEnv) {
  const script = join(dir, "supervise.ts");
  const module = new URL("../../sandbox/supervisor.ts", import.meta.url).href;
  writeFileSync(
    script,
    `import { Supervisor } from ${JSON.stringify(module)};
const it = new Supervisor({ logDir: ${JSON.stringify(options.logDir)}, runDir: ${JSON.stringify(options.runDir)}, environment: process.env, report: () => {} });
await it.start({ name: "child", command: "sleep", args: ["100"], ready: async () => true, readyMsMax: 1000 });
process.stdout.write("up");
setInterval(() => {}, 1000);
`,
  );
  return spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"], env: environment });
}

it("its children exit when it is killed with SIGKILL", async () => {
  const parent = spawnParent(process.env);
  await new Promise((up) => parent.stdout.once("data", up));
  const child = Number(readFileSync(join(options.runDir, "child.pid"), "utf8"));
  expect(existsSync(`/proc/${child}`)).toBe(true);
  parent.kill("SIGKILL");
  await until("the end of the child", () => !runs(child));
});

it("also a child that has not yet asked for the signal of its parent's death", async () => {
  const bin = join(dir, "bin");
  mkdirSync(bin, { recursive: true });
  const real = execFileSync("sh", ["-c", "command -v setpriv"], { encoding: "utf8" }).trim();
  writeFileSync(join(bin, "setpriv"), `#!/bin/sh\nsleep 1\nexec ${real} "$@"\n`, { mode: 0o755 });
  const parent = spawnParent({ ...process.env, PATH: `${bin}:${process.env.PATH}` });
  await new Promise((up) => parent.stdout.once("data", up));
  const child = Number(readFileSync(join(options.runDir, "child.pid"), "utf8"));
  parent.kill("SIGKILL");
  expect(runs(child)).toBe(true);
  await until("the end of the child", () => !runs(child));
});
