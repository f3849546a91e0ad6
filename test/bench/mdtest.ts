import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "../rules/source-files.ts";

export interface PhaseOrder {
  readonly phase: "create" | "stat" | "read" | "remove";
  readonly directory: string;
  readonly files: number;
}

export type Rates = Readonly<Record<PhaseOrder["phase"], number>>;

/**
 * Small files as mdtest measures them (`-F -u -w 3901 -e 3901`): every task makes its own files in a directory of its own, all
 * tasks end a phase before the next one begins. `forget` is called before `stat` and before `read`: what was cached meanwhile
 * is no measurement. @returns files per second, of all tasks together
 */
export async function mdtest(
  directory: string,
  { tasks, files, forget }: { readonly tasks: number; readonly files: number; readonly forget: () => Promise<void> },
): Promise<Rates> {
  await mkdir(directory, { recursive: true });
  const workers = Array.from({ length: tasks }, () => fork(join(ROOT, "test/bench/mdtest-task.ts")));
  try {
    await Promise.all(workers.map((worker) => answer(worker, "ready")));
    const rates: Partial<Record<PhaseOrder["phase"], number>> = {};
    for (const phase of ["create", "stat", "read", "remove"] as const) {
      if (phase === "stat" || phase === "read") await forget();
      const order = (task: number): PhaseOrder => ({ phase, directory: join(directory, `task.${task}`), files });
      const seconds = await inSeconds(async () => {
        await Promise.all(workers.map((worker, task) => carryOut(worker, order(task))));
      });
      rates[phase] = (tasks * files) / seconds;
    }
    return rates as Rates;
  } finally {
    for (const worker of workers) worker.kill("SIGKILL");
  }
}

async function carryOut(worker: ChildProcess, order: PhaseOrder): Promise<void> {
  const done = answer(worker, "done");
  worker.send(order);
  await done;
}

/** @throws Error when the task ends instead: what it says on stderr is in the terminal */
async function answer(worker: ChildProcess, expected: string): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  const ended = once(worker, "exit", { signal }).then(([code]) => `has ended (${code})`);
  const said = once(worker, "message", { signal }).then(([message]) => `said ${message}`);
  try {
    const outcome = await Promise.race([said, ended]);
    if (outcome !== `said ${expected}`) throw new Error(`a task of mdtest ${outcome}, instead of "${expected}"`);
  } finally {
    over.abort();
    await Promise.allSettled([ended, said]);
  }
}

async function inSeconds(step: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await step();
  return (performance.now() - startedMs) / 1_000;
}
