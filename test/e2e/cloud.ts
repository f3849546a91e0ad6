import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { VolumeStatus } from "../../admin/volume-status.ts";
import { select } from "../../sandbox/demo/selection.ts";
import { isMounted, unmountLazily } from "../../sandbox/mounts.ts";
import { processesNaming } from "../../sandbox/processes.ts";
import { ROOT } from "../rules/source-files.ts";

export { until } from "../support/until.ts";

export const MIRRORFS = join(ROOT, "bin/mirrorfs");
const READY_MS_MAX = 90_000;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; kills it after `timeoutMs`. */
export async function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, MIRRORFS_CONFIG: undefined, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.timeoutMs ?? 60_000,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = [child.stdout, child.stderr].map(textOf);
  const code = await new Promise<number | null>((done, failed) => {
    child.once("error", failed);
    child.once("close", done);
  });
  return { code, stdout: await stdout!, stderr: await stderr! };
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  for await (const piece of stream) text += piece;
  return text;
}

/** A running `mirrorfs up`. */
export class Up {
  readonly dir: string;
  readonly #child: ChildProcess;
  #output = "";

  private constructor(dir: string, args: readonly string[]) {
    this.dir = dir;
    this.#child = spawn(MIRRORFS, ["up", "--dir", dir, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on("data", (data) => (this.#output += data));
  }

  /**
   * Starts `mirrorfs up` in a new directory; resolves when it has printed `ready`.
   * @throws Error with its output when it exits or is not ready in time.
   */
  static async start(...args: readonly string[]): Promise<Up> {
    return await Up.startIn(mkdtempSync(join(tmpdir(), "mirrorfs-e2e-")), ...args);
  }

  /** The same in an existing directory. */
  static async startIn(dir: string, ...args: readonly string[]): Promise<Up> {
    const up = new Up(dir, args);
    const giveUpMs = Date.now() + READY_MS_MAX;
    while (!/^ready$/m.test(up.#output)) {
      if (up.#child.exitCode !== null || Date.now() > giveUpMs) {
        await up.end();
        throw new Error(`up is not ready:\n${up.#output}`);
      }
      await delay(50);
    }
    return up;
  }

  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  mount(region: "aws" | "gcp", ...parts: string[]): string {
    return join(this.dir, "mnt", region, ...parts);
  }

  pidOf(name: string): number {
    return Number(readFileSync(join(this.dir, "run", `${name}.pid`), "utf8"));
  }

  log(name: string): string {
    return readFileSync(join(this.dir, "log", `${name}.log`), "utf8");
  }

  async mirrorfs(...args: string[]): Promise<Ran> {
    return await run(MIRRORFS, [...args, "--config", join(this.dir, "volume.yaml")]);
  }

  async status(): Promise<VolumeStatus> {
    return JSON.parse((await this.mirrorfs("status", "--json")).stdout);
  }

  /** Sends a signal and waits until it has exited. @returns the exit code. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = new Promise((done) => this.#child.once("exit", done));
      this.#child.kill(signal);
      await gone;
    }
    return this.#child.exitCode;
  }

  /** Processes and mounts that are left, one line each. */
  leftovers(): string[] {
    const mounts = [this.mount("aws"), this.mount("gcp")].filter(isMounted);
    return [...processesNaming(this.dir), ...mounts.map((dir) => `${dir} is mounted`)];
  }

  /** Stops it, in whatever state it is, and removes its directory. */
  async end(): Promise<void> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 40_000);
    await this.stop();
    clearTimeout(timer);
    for (const dir of [this.mount("aws"), this.mount("gcp")]) unmountLazily(dir);
    if (!isMounted(this.mount("aws")) && !isMounted(this.mount("gcp")))
      rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Copies one or two thousand real files to a local directory. @returns how many. */
export async function stageRealTree(to: string): Promise<number> {
  const limits = { files: 1_500, bytes: 48 * 1024 * 1024, entryBytes: 16 * 1024 * 1024 };
  const sources = ["/usr/include", join(ROOT, "node_modules")].filter(existsSync);
  for (const source of sources) {
    const chosen = await select(source, limits);
    if (chosen.files < 1_000) continue;
    mkdirSync(to);
    for (const name of chosen.entries)
      cpSync(join(source, name), join(to, name), { recursive: true, verbatimSymlinks: true });
    return chosen.files;
  }
  throw new Error(`no tree of a thousand files in ${sources.join(", ")}`);
}
