/** `node test/raft/simulation/run.ts FROM COUNT`: for looking at seeds by hand. */
import { simulate } from "./simulation.ts";

const [from = "1", count = "100"] = process.argv.slice(2);
const failures: string[] = [];
let steps = 0;
const startMs = performance.now();
const sum: Record<string, number> = {};
for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
  try {
    const result = await simulate({ seed });
    steps += result.steps;
    for (const [name, value] of Object.entries(result)) sum[name] = (sum[name] ?? 0) + value;
  } catch (error) {
    failures.push((error as Error).message);
    console.log((error as Error).message);
    if (failures.length === 1 && process.env.STACK !== undefined) console.log(((error as Error).cause as Error).stack);
  }
}
const seconds = (performance.now() - startMs) / 1000;
console.log(JSON.stringify(sum));
console.log(`${Math.round(steps / seconds)} steps/s, ${seconds.toFixed(1)} s`);
console.log(`${Number(count) - failures.length} passed, ${failures.length} failed`);
