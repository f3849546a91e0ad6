import type { Command } from "commander";
import { callLeader } from "../../admin/client.ts";
import { volumeStatus } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import { epochNumberOf } from "../../proto/versions.ts";
import { readVolume, regionOf, timeoutOption, withConfig, withJson } from "../options.ts";

const TIMEOUT_MS = 30_000;
/** The server waits for the mirror and then for its own seal, each up to the timeout, and another 20 s for what becomes of it. */
const answerMsMax = (timeoutMs: number) => 2 * timeoutMs + 25_000;

export function addSwitchover(program: Command): void {
  withJson(withConfig(program.command("switchover")))
    .description("make another region the primary while both are up: nothing is lost, writers wait meanwhile")
    .requiredOption("--to <region>", "new primary")
    .option("--complete", "first wait until the new primary's bucket holds every block")
    .addOption(timeoutOption("give up after this many seconds, and leave the primary as it was", TIMEOUT_MS))
    .action(async (options) => {
      const volume = readVolume(options);
      const to = regionOf(volume, options.to);
      const before = await volumeStatus(volume);
      if (before.primary === to.name && before.epoch > 0) throw new UserError(`${to.name} is the primary already`);
      const startedMs = performance.now();
      const request = {
        volume: volume.volume,
        to: to.name,
        complete: options.complete ?? false,
        timeoutMs: options.timeout,
      };
      const from = regionOf(volume, before.primary);
      const answer = await callLeader(volume, from, "switchover", request, answerMsMax(options.timeout));
      if (!answer.ok) throw new UserError(`no switchover from ${from.name} to ${to.name}: ${answer.message}`);
      const tookMs = Math.round(performance.now() - startedMs);
      const epoch = epochNumberOf(answer.version);
      const sequence = answer.version?.sequence ?? 0;
      process.stdout.write(
        options.json
          ? `${JSON.stringify({ from: from.name, to: to.name, epoch, sequence, tookMs })}\n`
          : `primary ${from.name} -> ${to.name}: epoch ${epoch} from sequence ${sequence} on (${tookMs} ms)\n`,
      );
    });
}
