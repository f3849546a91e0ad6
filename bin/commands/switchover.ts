import type { Command } from "commander";
import { callLeader } from "../../admin/client.ts";
import { volumeStatus } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import { epochNumberOf } from "../../proto/versions.ts";
import { readVolume, regionOf, seconds, withConfig } from "../options.ts";

const TIMEOUT_MS = 30_000;
/** The call may take as long as the switchover is given, and the way there and back. */
const ANSWER_MS_MAX = 5_000;

export function addSwitchover(program: Command): void {
  withConfig(program.command("switchover"))
    .description("make another region the primary; loses nothing, writers wait meanwhile")
    .requiredOption("--to <region>", "the new primary")
    .option("--complete", "first wait until its bucket holds every block")
    .option("--timeout <s>", "leave everything as it was after so many seconds (exit 1)", seconds, TIMEOUT_MS)
    .option("--json", "for machines")
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
      const answer = await callLeader(volume, from, "switchover", request, options.timeout + ANSWER_MS_MAX);
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
