import type { DemoContext } from "./context.ts";
import { compareInMirror, copyIn } from "./copy-part.ts";
import { failOver } from "./failover-part.ts";
import { train } from "./training-part.ts";

/** How many checks a whole demo makes, with the one for what it leaves behind. */
export const CHECKS = 20;

/** Starts two clouds and shows the four uses of mirrorfs on them. The results of all checks go to the report. */
export async function runDemo(context: DemoContext): Promise<void> {
  const { cloud, report } = context;
  const started = await report.timed("starting two clouds", () => cloud.start());
  report.figure(`two clouds in ${cloud.dir}: ${started.seconds.toFixed(1)} s`);
  const copied = await copyIn(context);
  await compareInMirror(context, copied);
  await train(context);
  await failOver(context, copied);
}
