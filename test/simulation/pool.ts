import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Job, Reply } from "./child.ts";
import type { RunResult } from "./run.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));
/** A run takes about a second. One that takes longer than this has failed. */
const RUN_MS_MAX = 300_000;

export interface PoolOptions {
  readonly processes: number;
  readonly mutant?: string | undefined;
  readonly trace?: boolean;
}

/**
 * Runs jobs in parallel worker processes. Their results come in the order of the jobs, so that it does not matter how many
 * processes there are: `onResult` says after which one to stop.
 * @throws Error when a worker cannot start: its mutant no longer matches the source.
 */
export async function runJobs(
  { processes, mutant, trace = false }: PoolOptions,
  jobs: readonly Job["options"][],
  onResult: (result: RunResult) => "continue" | "stop",
): Promise<void> {
  const inOrder = new InOrder(onResult);
  let next = 0;
  const work = async () => {
    let child: ChildProcess | undefined;
    try {
      while (next < jobs.length && !inOrder.isDone) {
        const number = next++;
        child ??= await started(mutant);
        const reply = await replyOf(child, { options: jobs[number]!, trace });
        inOrder.add(number, "result" in reply ? reply.result : failed(jobs[number]!, reply));
        if ("result" in reply) continue;
        child.kill("SIGKILL");
        child = undefined;
      }
    } finally {
      child?.kill();
    }
  };
  await Promise.all(Array.from({ length: Math.min(processes, jobs.length) }, work));
}

/** Passes results on in the order of their numbers. */
class InOrder {
  readonly #onResult: (result: RunResult) => "continue" | "stop";
  readonly #early = new Map<number, RunResult>();
  #next = 0;
  isDone = false;

  constructor(onResult: (result: RunResult) => "continue" | "stop") {
    this.#onResult = onResult;
  }

  add(number: number, result: RunResult): void {
    this.#early.set(number, result);
    for (let one = this.#early.get(this.#next); one !== undefined && !this.isDone; one = this.#early.get(this.#next)) {
      this.#early.delete(this.#next);
      this.#next += 1;
      this.isDone = this.#onResult(one) === "stop";
    }
  }
}

async function started(mutant: string | undefined): Promise<ChildProcess> {
  const child = fork(CHILD, mutant === undefined ? [] : [mutant], { serialization: "advanced" });
  const ready = await replyOf(child);
  if ("ready" in ready) return child;
  child.kill();
  throw new Error("failed" in ready ? ready.failed : "a simulator process did not start");
}

/** Sends a job, and waits for the reply to it; without one, for the report that the process is ready. */
function replyOf(child: ChildProcess, job?: Job): Promise<Reply> {
  return new Promise((resolve) => {
    const settle = (reply: Reply) => {
      clearTimeout(timer);
      child.off("exit", gone);
      child.off("message", settle);
      resolve(reply);
    };
    const gone = (code: number | null) => settle({ failed: `a simulator process ended with ${code}` });
    const timer = setTimeout(() => settle({ failed: `time-out: no result within ${RUN_MS_MAX / 1000} s` }), RUN_MS_MAX);
    child.once("exit", gone);
    child.on("message", settle);
    if (job !== undefined) child.send(job);
  });
}

function failed({ seed, profile }: Job["options"], reply: Reply): RunResult {
  const message = "failed" in reply ? reply.failed : "a simulator process sent something else than a result";
  const problem = { truth: undefined, message };
  return { seed, profile: profile ?? "unknown", steps: 0, hash: "", problem, transcript: [], counts: {} };
}
