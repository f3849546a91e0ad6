/** A process that runs seeds, one after another, as its parent asks: its production rooms may have one defect. */

import { installHooks } from "./environment/hooks.ts";
import { MUTANTS } from "./mutants.ts";
import type { RunOptions, RunResult } from "./run.ts";

export interface Job {
  readonly options: Omit<RunOptions, "onLine">;
  /** Every line of the transcript goes to stdout. */
  readonly trace: boolean;
}

export type Reply = { readonly ready: true } | { readonly result: RunResult } | { readonly failed: string };

const reply = (message: Reply) => process.send!(message);

async function serve(mutant: string | undefined): Promise<void> {
  installHooks(MUTANTS.find(({ name }) => name === mutant)?.replacements ?? []);
  const { run } = await import("./run.ts");
  process.on("message", ({ options, trace }: Job) => {
    // In a macrotask of its own: a run drains the queue of microtasks by itself.
    setImmediate(() => {
      const onLine = trace ? (line: string) => console.log(line) : undefined;
      reply({ result: run({ ...options, onLine }) });
    });
  });
  reply({ ready: true });
}

serve(process.argv[2]).catch((error: Error) => reply({ failed: error.message }));
