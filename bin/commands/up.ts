import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { UserError } from "../../base/user-error.ts";
import { Cloud } from "../../sandbox/cloud.ts";
import { untilInterrupted } from "../interrupt.ts";
import { integer } from "../options.ts";
import { say } from "../text.ts";

export function addUp(program: Command): void {
  program
    .command("up")
    .description("run a whole volume in two simulated clouds on this machine, with both mounts, until Ctrl-C")
    .option(
      "--dir <dir>",
      "keep the volume in this directory: mounts (mnt/aws, mnt/gcp), volume.yaml, logs, data (default: a temporary one, removed at the end)",
    )
    .option("--replicas <n>", "metadata servers of the primary: 1, 3 or 5", replicas, 3)
    .option("--mirror-replicas <n>", "metadata servers of the mirror: 1, 3 or 5", replicas, 1)
    .option("--wan-ms <n>", "delay between the regions, in ms each way", integer(0, 10_000), 0)
    .addOption(
      new Option("--buckets <kind>", "cloud: local servers that speak the S3 and GCS protocols; file: directories")
        .choices(["cloud", "file"])
        .default("cloud"),
    )
    .action(async (options) => {
      const cloud = new Cloud({ ...options, program: PROGRAM, environment: process.env, report: say });
      await untilInterrupted(cloud, async (interrupted) => {
        await cloud.start();
        say(`aws: ${cloud.places.mountPoint("aws")}`);
        say(`gcp: ${cloud.places.mountPoint("gcp")}`);
        say(`volume file: ${cloud.places.volumeFile}`);
        say("ready");
        await interrupted;
        say("stopping");
      });
    });
}

export const PROGRAM = fileURLToPath(new URL("../mirrorfs", import.meta.url));

function replicas(text: string): number {
  const value = integer(1, 5)(text);
  if (value % 2 === 0)
    throw new UserError(`${value} replicas tolerate no more failures than ${value - 1}: give 1, 3 or 5`, 2);
  return value;
}
