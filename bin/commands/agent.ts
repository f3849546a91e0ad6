import type { Command } from "commander";
import { createLogger } from "../../base/logger.ts";
import { integer, readVolume, regionOf, withConfig, withLogLevel } from "../options.ts";
import { serve } from "../serve.ts";

export function addAgent(program: Command): void {
  withLogLevel(withConfig(program.command("agent")))
    .description("run an agent: it copies into a region's bucket what that lacks, and deletes what nobody needs")
    .requiredOption("--region <name>", "the region whose bucket it fills")
    .option("--concurrency <n>", "blocks in flight at most", integer(1, 1024))
    .option("--bytes-per-second <n>", "bandwidth at most", integer(1))
    .action(async (options) => {
      const volume = readVolume(options);
      const region = regionOf(volume, options.region);
      const { runAgent } = await import("../../mirror-agent/main.ts");
      const logger = createLogger(options.logLevel, { name: `${region.name}-agent` });
      const running = runAgent({
        volume,
        region: region.name,
        logger,
        concurrency: options.concurrency,
        bytesPerSecond: options.bytesPerSecond,
      });
      await serve(running, logger);
    });
}
