import type { Command } from "commander";
import { createLogger } from "../../base/logger.ts";
import { keepFilesPrivate } from "../../base/private-files.ts";
import { UserError } from "../../base/user-error.ts";
import { REMOVED } from "../../config/volume-description.ts";
import { integer, readVolume, regionOf, testedLevel, withConfig, withLogLevel } from "../options.ts";
import { serve } from "../serve.ts";

export function addMeta(program: Command): void {
  withLogLevel(withConfig(program.command("meta")))
    .description("run one metadata server of a region")
    .requiredOption("--region <name>", "region that the server belongs to")
    .requiredOption("--id <n>", "number of the server: its place, from 1, in the region's `meta` addresses", integer(1))
    .requiredOption("--data <dir>", "directory of its data: created if missing, refused if it is another server's")
    .option("--listen <host:port>", "bind to this address instead of the one in the volume file (NAT, containers)")
    .option("--join", "join a group that is already running; `mirrorfs member add` comes first")
    .action(async (options) => {
      keepFilesPrivate();
      const volume = readVolume(options);
      const region = regionOf(volume, options.region);
      if (region.meta[options.id - 1] === REMOVED)
        throw new UserError(
          `metadata server ${options.id} of region ${region.name} was removed: add a new one with 'mirrorfs member add'`,
          2,
        );
      if (options.id > region.meta.length) {
        throw new UserError(
          `region ${region.name} has no metadata server ${options.id}: give --id 1 to ${region.meta.length}, or append its address to regions.${region.name}.meta`,
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
        supports: testedLevel(),
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
