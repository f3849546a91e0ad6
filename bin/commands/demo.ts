import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { volumeStatus } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import { readVolumeFile } from "../../config/volume-file.ts";
import { Cloud } from "../../sandbox/cloud.ts";
import { CHECKS, runDemo } from "../../sandbox/demo/demo.ts";
import { Report } from "../../sandbox/demo/report.ts";
import { untilInterrupted } from "../interrupt.ts";
import { integer } from "../options.ts";
import { say } from "../text.ts";
import { PROGRAM } from "./up.ts";

const WAN_MS = 40;
const REPLICAS = 3;
const INTERRUPTED = 130;

export function addDemo(program: Command): void {
  program
    .command("demo")
    .description(
      "run the main uses on such a volume and check every step: write in one cloud, read in the other, lose servers, lose a cloud",
    )
    .option("--source <dir>", "directory tree to copy into the volume (default: mirrorfs's own npm packages)")
    .option("--wan-ms <n>", "delay between the regions, in ms each way", integer(1, 1_000), WAN_MS)
    .action(async (options) => {
      const source = options.source === undefined ? undefined : resolve(options.source);
      if (source !== undefined && !existsSync(source)) throw new UserError(`${options.source}: no such directory`, 2);
      process.exitCode = await demo(source, options.wanMs);
    });
}

async function demo(source: string | undefined, wanMs: number): Promise<number> {
  const startedMs = performance.now();
  const report = new Report(say);
  const cloud = new Cloud({
    replicas: REPLICAS,
    mirrorReplicas: 1,
    wanMs,
    buckets: "cloud",
    program: PROGRAM,
    environment: process.env,
    report: (line) => report.figure(line),
  });
  const ending = new AbortController();
  const stop = async () => {
    ending.abort();
    await cloud.stop();
  };
  const whole = await untilInterrupted({ stop }, async () => {
    await runDemo({
      cloud,
      report,
      source,
      view: async () => await volumeStatus(readVolumeFile(cloud.places.volumeFile)),
      mirrorfs: (...args) => runMirrorfs([...args, "--config", cloud.places.volumeFile], ending.signal),
      environment: process.env,
      ending: ending.signal,
    });
  });
  if (!whole) return INTERRUPTED;
  report.part("Afterwards");
  report.check("no process, no mount and no file is left", cloud.leftovers());
  return report.conclude({ checks: CHECKS, seconds: (performance.now() - startedMs) / 1000 }) ? 0 : 1;
}

/** Runs bin/mirrorfs as a person would. @throws UserError with the error line that it printed. */
async function runMirrorfs(args: readonly string[], signal: AbortSignal): Promise<string> {
  return await new Promise((done, failed) => {
    execFile(PROGRAM, args, { signal, encoding: "utf8" }, (error, stdout, stderr) => {
      if (error === null) done(stdout);
      else
        failed(
          new UserError(
            `mirrorfs ${args.join(" ")}: ${
              stderr
                .trim()
                .split("\n")
                .at(-1)
                ?.replace(/^mirrorfs: /, "") ?? error.message
            }`,
          ),
        );
    });
  });
}
