import type { Command } from "commander";
import { createLogger } from "../../base/logger.ts";
import { keepFilesPrivate } from "../../base/private-files.ts";
import { integer, readVolume, regionOf, testedLevel, withConfig, withLogLevel } from "../options.ts";
import { serve } from "../serve.ts";

export function addAgent(program: Command): void {
  withLogLevel(withConfig(program.command("agent")))
    .description("run a mirror agent: copies the blocks that a region's bucket lacks, and deletes garbage from it")
    .requiredOption("--region <name>", "region whose bucket it fills")
    .option("--concurrency <n>", "most blocks in flight (default: 64)", integer(1, 1024))
    .option("--bytes-per-second <n>", "most bytes copied a second (default: unlimited)", integer(1))
    .action(async (options) => {
      keepFilesPrivate();
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
        supports: testedLevel(),
      });
      await serve(running, logger);
    });
}
