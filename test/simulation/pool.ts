import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Job, Reply } from "./child.ts";
import type { RunResult } from "./run.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

export interface PoolOptions {
  readonly processes: number;
  readonly mutant?: string | undefined;
  readonly trace?: boolean;
}

/**
 * Runs jobs in parallel worker processes.
 * @throws Error when a worker cannot start: its mutant no longer matches the source.
 */
export async function runJobs(
  { processes, mutant, trace = false }: PoolOptions,
  jobs: readonly Job["options"][],
  onResult: (result: RunResult) => "continue" | "stop",
): Promise<void> {
  const left = [...jobs];
  let isDone = false;
  const work = async () => {
    const child = fork(CHILD, mutant === undefined ? [] : [mutant], { serialization: "advanced" });
    try {
      const ready = await replyOf(child);
      if ("failed" in ready) throw new Error(ready.failed);
      for (let options = left.shift(); options !== undefined && !isDone; options = left.shift()) {
        child.send({ options, trace } satisfies Job);
        const reply = await replyOf(child);
        if ("result" in reply && !isDone) isDone = onResult(reply.result) === "stop";
      }
    } finally {
      child.kill();
    }
  };
  await Promise.all(Array.from({ length: Math.min(processes, jobs.length) }, work));
}

function replyOf(child: ChildProcess): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const gone = (code: number | null) => reject(new Error(`a simulator process ended with ${code}`));
    child.once("exit", gone);
    child.once("message", (reply) => {
      child.off("exit", gone);
      resolve(reply as Reply);
    });
  });
}
