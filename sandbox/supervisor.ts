import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { UserError } from "../base/user-error.ts";

const READY_POLL_MS = 50;
const PROGRESS_MS = 1_000;
const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 5_000;
/** Who lived this long before it died is started again without a longer wait. */
const LIVED_MS = 10_000;
/** After a SIGTERM; then SIGKILL. */
const STOP_MS_MAX = 15_000;

export interface ProcessPlan {
  /** Of its log and pid file: "aws-meta-1". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Beside the supervisor's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Polled until it says true; throws for what cannot become ready. */
  readonly ready: () => Promise<boolean>;
  /** How long it may take to get ready. */
  readonly readyMsMax: number;
}

/**
 * Run between setpriv and the command: a parent that died before setpriv had asked for the signal of its death will never cause
 * one, and then the command is not started.
 */
const ORPHAN_CHECK = ["sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"'];

interface SupervisorOptions {
  readonly logDir: string;
  readonly runDir: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Takes a line for people: who is waited for, who died. */
  readonly report: (line: string) => void;
}

/**
 * Keeps processes running: starts them, waits until they are ready, starts again what died, and stops them in the
 * opposite order. Each child gets a SIGTERM from the kernel when this process is gone, also by kill -9.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #kept = new Map<string, Kept>();
  /** In the order they were started. */
  readonly #groups: Kept[][] = [];
  #stopped = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /**
   * Starts processes, all at once, and waits until each is ready.
   * @throws UserError with the last words of a process that ended, or was not ready in time.
   */
  async start(...plans: readonly ProcessPlan[]): Promise<void> {
    if (this.#stopped) throw new UserError("stopped while it was starting");
    const group = plans.map((plan) => new Kept(plan, this.#options));
    this.#groups.push(group);
    for (const kept of group) this.#kept.set(kept.name, kept);
    await Promise.all(group.map((kept) => kept.start()));
  }

  /** Of the process as it runs now; undefined while it is down. */
  pid(name: string): number | undefined {
    return this.#get(name).pid;
  }

  restarts(name: string): number {
    return this.#get(name).restarts;
  }

  /** Takes one down by SIGKILL; like after any death, it is started again. @returns the pid that was killed. */
  kill(name: string): number | undefined {
    return this.#get(name).kill();
  }

  /** Takes several down by SIGKILL at once; they stay down until `revive`. */
  async cut(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#get(name).end("SIGKILL")));
  }

  async revive(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#get(name).start()));
  }

  /** Ends one in good order; it stays down until `revive`. */
  async end(name: string): Promise<void> {
    await this.#get(name).end("SIGTERM");
  }

  /** Stops all, those that were started last first. */
  async stopAll(): Promise<void> {
    this.#stopped = true;
    for (const group of this.#groups.reverse()) await Promise.all(group.map((kept) => kept.end("SIGTERM")));
  }

  #get(name: string): Kept {
    const kept = this.#kept.get(name);
    if (kept === undefined) throw new Error(`no process ${name} (there are ${[...this.#kept.keys()].join(", ")})`);
    return kept;
  }
}

/** One process, and its successors. */
class Kept {
  restarts = 0;
  readonly #plan: ProcessPlan;
  readonly #options: SupervisorOptions;
  readonly #logPath: string;
  readonly #pidPath: string;
  #child: ChildProcess | undefined;
  #startedMs = 0;
  /** It was ready: from now on its end is not a failed start. */
  #guarded = false;
  #backoffMs = RESTART_MS_MIN;
  /** Where its log stood when it was last started. */
  #logFrom = 0;

  constructor(plan: ProcessPlan, options: SupervisorOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#logPath = join(options.logDir, `${plan.name}.log`);
    this.#pidPath = join(options.runDir, `${plan.name}.pid`);
  }

  get name(): string {
    return this.#plan.name;
  }

  get pid(): number | undefined {
    return this.#child !== undefined && isRunning(this.#child) ? this.#child.pid : undefined;
  }

  async start(): Promise<void> {
    this.#spawn();
    const { name, ready, readyMsMax } = this.#plan;
    let saidMs = this.#startedMs;
    while (!(await ready())) {
      const now = Date.now();
      if (this.pid === undefined) throw this.#failure("ended before it was ready");
      if (now - this.#startedMs > readyMsMax) throw this.#failure(`not ready after ${readyMsMax / 1000} s`);
      if (now - saidMs >= PROGRESS_MS) {
        saidMs = now;
        this.#options.report(`waiting for ${name} (${Math.round((now - this.#startedMs) / 1000)} s)`);
      }
      await delay(READY_POLL_MS);
    }
    if (this.pid === undefined) throw this.#failure("ended as soon as it was started");
    this.#guarded = true;
  }

  kill(): number | undefined {
    const pid = this.pid;
    this.#child?.kill("SIGKILL");
    return pid;
  }

  /** Ends it, and it stays down; SIGKILL where SIGTERM is not heard. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.#guarded = false;
    const child = this.#child;
    if (child !== undefined && isRunning(child)) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill(signal);
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      await gone;
      clearTimeout(timer);
    }
    rmSync(this.#pidPath, { force: true });
  }

  #spawn(): void {
    const { command, args, environment } = this.#plan;
    const log = openSync(this.#logPath, "a");
    this.#logFrom = statSync(this.#logPath).size;
    this.#startedMs = Date.now();
    const child = spawn("setpriv", ["--pdeathsig", "TERM", ...ORPHAN_CHECK, String(process.pid), command, ...args], {
      stdio: ["ignore", log, log],
      env: { ...this.#options.environment, ...environment },
      // A Ctrl-C in the terminal is for the supervisor alone: it stops the others in order.
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    writeFileSync(this.#pidPath, `${child.pid}\n`);
    child.once("error", (error) => this.#options.report(`${this.#plan.name}: ${error.message}`));
    child.once("exit", (code, signal) => void this.#restart(signal ?? `exit ${code}`));
  }

  async #restart(how: string): Promise<void> {
    if (!this.#guarded) return;
    this.#backoffMs =
      Date.now() - this.#startedMs > LIVED_MS ? RESTART_MS_MIN : Math.min(this.#backoffMs * 2, RESTART_MS_MAX);
    this.#options.report(`${this.#plan.name} ended (${how}): starting it again`);
    await delay(this.#backoffMs);
    if (!this.#guarded) return;
    this.restarts += 1;
    this.#spawn();
  }

  /** Its own last words, if it left one clear line; else where its log is. */
  #failure(what: string): UserError {
    this.#guarded = false;
    const said = readFileSync(this.#logPath).subarray(this.#logFrom).toString().split("\n");
    const line = said.findLast((it) => it.startsWith(WORDS))?.slice(WORDS.length);
    return new UserError(`${this.#plan.name}: ${line ?? `${what} (log: ${this.#logPath})`}`);
  }
}

/** How a line begins that bin/mirrorfs leaves on stderr when it fails. */
const WORDS = "mirrorfs: ";

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}
