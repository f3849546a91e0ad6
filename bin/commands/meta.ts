import type { Command } from "commander";
import { createLogger } from "../../base/logger.ts";
import { UserError } from "../../base/user-error.ts";
import { REMOVED } from "../../config/volume-description.ts";
import { integer, readVolume, regionOf, withConfig, withLogLevel } from "../options.ts";
import { serve } from "../serve.ts";

export function addMeta(program: Command): void {
  withLogLevel(withConfig(program.command("meta")))
    .description("run one metadata server of a region")
    .requiredOption("--region <name>", "the region it belongs to")
    .requiredOption("--id <n>", "which of the region's `meta` addresses is its own, from 1", integer(1))
    .requiredOption("--data <dir>", "its directory: made when it is not there, refused when it is another server's")
    .option("--listen <host:port>", "bind to this instead of its own address in the volume file")
    .option("--join", "the region's servers run already, and this one was added by `member add`")
    .action(async (options) => {
      const volume = readVolume(options);
      const region = regionOf(volume, options.region);
      if (region.meta[options.id - 1] === REMOVED)
        throw new UserError(`metadata server ${options.id} of region ${region.name} was removed: add a new one`, 2);
      if (options.id > region.meta.length) {
        throw new UserError(
          `region ${region.name} has ${region.meta.length} metadata servers: --id ${options.id} is none of them`,
          2,
        );
      }
      const { runMetaServer } = await import("../../meta-server/main.ts");
      const logger = createLogger(options.logLevel, { name: `${region.name}-meta-${options.id}` });
      const ended = Promise.withResolvers<void>();
      const running = runMetaServer({
        volume,
        region: region.name,
        member: options.id,
        dataDir: options.data,
        logger,
        listen: options.listen,
        join: options.join ?? false,
        onFatal: (error) => {
          logger.fatal({ err: error }, "stopped");
          ended.reject(new UserError(`metadata server ${region.name}/${options.id} stopped: ${error.message}`));
        },
      });
      await serve(
        running.then(({ stop }) => ({ stop, ended: ended.promise })),
        logger,
      );
    });
}
