/**
 * A worker process of pool.ts: runs the seeds that its parent sends, with at most one mutant in the production code.
 */

import { installHooks } from "./environment/hooks.ts";
import { MUTANTS } from "./mutants.ts";
import type { RunOptions, RunResult } from "./run.ts";

export interface Job {
  readonly options: Omit<RunOptions, "onLine">;
  /** Prints every line of the transcript. */
  readonly trace: boolean;
}

export type Reply = { readonly ready: true } | { readonly result: RunResult } | { readonly failed: string };

const reply = (message: Reply) => process.send!(message);

async function serve(mutant: string | undefined): Promise<void> {
  installHooks(MUTANTS.find(({ name }) => name === mutant)?.replacements ?? []);
  const { run } = await import("./run.ts");
  process.on("message", ({ options, trace }: Job) => {
    // In its own macrotask: a run drains the microtask queue itself.
    setImmediate(() => {
      const onLine = trace ? (line: string) => console.log(line) : undefined;
      reply({ result: run({ ...options, onLine }) });
    });
  });
  reply({ ready: true });
}

serve(process.argv[2]).catch((error: Error) => reply({ failed: error.message }));
