/** `npm run faults`: puts one fault after another into a copy of the sources, and runs the test that must fail with it. */
import { Command } from "commander";
import { FAULTS } from "./faults.ts";
import { Copy } from "./try-fault.ts";

interface Options {
  readonly only?: string;
  readonly list?: boolean;
}

const program = new Command("faults")
  .description(
    "Puts each fault of docs/TRACK_RECORD.md into a copy of the sources: the test that guards against it must fail, and pass without it.",
  )
  .option("--only <text>", "only the faults whose name contains this")
  .option("--list", "print the faults and their tests, and run nothing")
  .parse();

const options = program.opts<Options>();
const chosen = FAULTS.filter(({ name }) => name.includes(options.only ?? ""));
if (chosen.length === 0) program.error(`no fault's name contains "${options.only}": see --list`);
if (options.list === true)
  for (const { name, about, test } of chosen) console.log(`${name.padEnd(36)}${test}: ${about}`);
else process.exitCode = (await tryAll()) ? 0 : 1;

async function tryAll(): Promise<boolean> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  const copy = new Copy();
  const missed: string[] = [];
  try {
    for (const [i, fault] of chosen.entries()) {
      const verdict = await tryOne(copy, fault, stop.signal);
      console.log(`${String(i + 1).padStart(3)} of ${chosen.length}  ${fault.name.padEnd(36)}${verdict.line}`);
      if (!verdict.caught) missed.push(fault.name);
      if (stop.signal.aborted) break;
    }
  } finally {
    copy.close();
  }
  console.log(
    `${chosen.length - missed.length} of ${chosen.length} faults caught${missed.length > 0 ? `; not: ${missed.join(", ")}` : ""}`,
  );
  return missed.length === 0 && !stop.signal.aborted;
}

async function tryOne(copy: Copy, fault: (typeof FAULTS)[number], signal: AbortSignal) {
  try {
    const control = await copy.try(fault, { control: true, signal });
    if (control.failed > 0) return { caught: false, line: `FAILS WITHOUT IT: ${control.why}` };
    const { failed, why } = await copy.try(fault, { control: false, signal });
    return failed > 0 ? { caught: true, line: `caught: ${why}` } : { caught: false, line: "NOT CAUGHT" };
  } catch (error) {
    return { caught: false, line: `COULD NOT BE TRIED: ${(error as Error).message}` };
  }
}
