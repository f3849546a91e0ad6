import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import type { MemoryHandlers } from "./memory/handlers.ts";
import type { Order, ServerOptions } from "./server.ts";

/** A server is killed after this time in any case, so that its mount fails instead of hanging the tests. */
const SERVER_LIFE_MS = 90_000;
const START_TIMEOUT_MS = 15_000;

export const canMount = process.getuid?.() === 0 && spawnSync("test", ["-c", "/dev/fuse"]).status === 0;

export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program under timeout(1), never longer than `seconds`. */
export function run(
  command: readonly string[],
  options: {
    cwd?: string;
    seconds?: number;
    env?: Record<string, string>;
    onStart?: (child: ChildProcess) => void;
  } = {},
): Promise<Ran> {
  const { cwd, seconds = 40, env = {}, onStart } = options;
  const child = spawn("timeout", ["-k", "1", String(seconds), ...command], {
    cwd,
    env: { ...process.env, LC_ALL: "C", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onStart?.(child);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (data) => stdout.push(data));
  child.stderr.on("data", (data) => stderr.push(data));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ code, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
}

/** Runs a program that must succeed; answers its standard output. */
export async function ok(command: readonly string[], options: Parameters<typeof run>[1] = {}): Promise<string> {
  const ran = await run(command, options);
  if (ran.code !== 0) throw new Error(`${command.join(" ")}: exit ${ran.code}\n${ran.stdout}\n${ran.stderr}`);
  return ran.stdout;
}

/** A shell that stays in a working directory. `ask` runs a command in it; answers what the command printed. */
export function startShell(cwd: string) {
  const child = spawn("timeout", ["-k", "1", "60", "sh"], { cwd, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    async ask(command: string): Promise<string> {
      child.stdin.write(`${command}\necho "= $?"\n`);
      let printed = "";
      for (;;) {
        const { done, value } = await lines.next();
        if (done) throw new Error(`the shell ended: ${printed}`);
        if (value === "= 0") return printed;
        if (value.startsWith("= ")) throw new Error(`${command}: ${value}`);
        printed += value;
      }
    },
    end: () => child.stdin.end(),
  };
}

/** Runs a Python program that must succeed; answers the JSON that it printed last. */
export async function python(program: string, options: Parameters<typeof run>[1] = {}): Promise<unknown> {
  const out = await ok(["python3", "-c", program], options);
  return out.trim() === "" ? undefined : JSON.parse(out.trim().split("\n").at(-1)!);
}

export type Counts = MemoryHandlers["counts"];

interface Message {
  readonly id?: number;
  readonly result?: unknown;
  readonly ready?: true;
  readonly ended?: Counts;
  readonly failed?: string;
}

export interface Server {
  readonly pid: number;
  /** The mount point. Access it only from other processes, or asynchronously. */
  readonly directory: string;
  order(order: Order): Promise<unknown>;
  counts(): Promise<Counts>;
  /** The server's last messages: `ended` with its counts, or `failed`. */
  readonly last: { ended?: Counts; failed?: string };
  readonly exited: Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

/** A temporary directory, empty. */
export function temporaryDirectory(): Promise<string> {
  return fs.mkdtemp(path.join(os.tmpdir(), "mirrorfs-fuse-"));
}

/** Serves a directory from a process of its own; resolves when it is mounted, or has failed (`last.failed`). */
export async function serve(directory: string, options: ServerOptions = {}): Promise<Server> {
  const script = path.join(import.meta.dirname, "server.ts");
  const child = spawn(process.execPath, [script, directory, JSON.stringify(options)], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const last: Server["last"] = {};
  const answers = new Map<number, (result: unknown) => void>();
  const ready = Promise.withResolvers<void>();
  let nextId = 1;
  child.on("message", (message: Message) => {
    if (message.id !== undefined) answers.get(message.id)?.(message.result);
    else Object.assign(last, message);
    if (message.ready || message.failed) ready.resolve();
  });
  const life = setTimeout(() => child.kill("SIGKILL"), SERVER_LIFE_MS).unref();
  const exited = new Promise<void>((resolve) => {
    child.on("exit", () => {
      clearTimeout(life);
      for (const answer of answers.values()) answer(undefined);
      ready.reject(new Error("the server ended before it was ready"));
      resolve();
    });
  });
  const late = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
  await ready.promise.finally(() => clearTimeout(late));
  const order = (what: Order) => {
    const id = nextId++;
    if (child.connected) child.send({ id, ...what });
    else return Promise.resolve(undefined);
    return new Promise((resolve) => {
      answers.set(id, resolve);
    });
  };
  return {
    pid: child.pid!,
    directory,
    last,
    exited,
    order,
    counts: () => order({ order: "counts" }) as Promise<Counts>,
    kill: (signal) => child.kill(signal),
  };
}

/** Ends a server in any state, and removes its mount and its directory. */
export async function clean(server: Server): Promise<void> {
  server.kill("SIGTERM");
  const timer = setTimeout(() => server.kill("SIGKILL"), 12_000);
  await server.exited;
  clearTimeout(timer);
  await cleanDirectory(server.directory);
}

async function cleanDirectory(directory: string): Promise<void> {
  // Usually the mount is gone already, and umount fails.
  await run(["umount", "-l", directory], { seconds: 5 });
  await fs.rmdir(directory);
}
