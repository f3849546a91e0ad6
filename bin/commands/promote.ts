import type { Command } from "commander";
import { promoteByForce } from "../../admin/promotion.ts";
import { volumeStatus } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import type { LossReportAnswer } from "../../proto/generated/admin.ts";
import type { WireVersion } from "../../proto/generated/metadata.ts";
import { epochNumberOf } from "../../proto/versions.ts";
import { readVolume, regionOf, withConfig, withJson } from "../options.ts";
import { bytesText } from "../text.ts";

export function addPromote(program: Command): void {
  withJson(withConfig(program.command("promote")))
    .description("make a mirror the primary after the primary was lost; reports what may be lost with it")
    .requiredOption("--region <name>", "new primary")
    .option("--force", "accept that changes the mirror has not received are lost, or stay in the old primary")
    .option(
      "--even-if-alive",
      "with --force: end a region first that is the primary or about to be; what it has not mirrored by then is lost",
    )
    .option(
      "--discard <region>",
      "with --force: promote although that region has applied more; may be given several times",
      (one: string, all: string[]) => [...all, one],
      [],
    )
    .action(async (options) => {
      const volume = readVolume(options);
      const region = regionOf(volume, options.region);
      if (!options.force) throw new UserError(await whyForce(volume, region.name));
      const startedMs = performance.now();
      const discard: string[] = options.discard.map((name: string) => regionOf(volume, name).name);
      const answer = await promoteByForce(volume, region, { evenIfAlive: options.evenIfAlive ?? false, discard });
      if (!answer.ok) throw new UserError(`${region.name} was not promoted: ${answer.message}`);
      const tookMs = Math.round(performance.now() - startedMs);
      const report = lossReport(answer.report);
      process.stdout.write(
        options.json
          ? `${JSON.stringify({ region: region.name, tookMs, report }, null, 2)}\n`
          : text(region.name, tookMs, report),
      );
    });
}

async function whyForce(volume: Parameters<typeof volumeStatus>[0], region: string): Promise<string> {
  const { primary, regions } = await volumeStatus(volume);
  if (primary === region) return `${region} is the primary already`;
  if (regions[primary]?.reachable && regions[primary].leader !== null) {
    return `the primary ${primary} is alive: use 'mirrorfs switchover --to ${region}', which loses nothing`;
  }
  return `changes that ${primary} acknowledged and ${region} has not received would be lost: add --force to accept that`;
}

/** What `promote --json` prints as `report`. */
function lossReport(it: LossReportAnswer | undefined) {
  return {
    from: it?.fromRegion ?? "",
    to: it?.toRegion ?? "",
    fork: versionOf(it?.fork),
    heard: versionOf(it?.heard),
    promotedAt: new Date(it?.promotedAtMs ?? 0).toISOString(),
    files: (it?.files ?? []).map(({ inode, path, bytes, slices }) => ({ inode, path, bytes, slices })),
    truncated: it?.truncated ?? false,
  };
}

function versionOf(it: WireVersion | undefined) {
  return { epoch: epochNumberOf(it), sequence: it?.sequence ?? 0 };
}

function text(region: string, tookMs: number, report: ReturnType<typeof lossReport>): string {
  const missed = Math.max(0, report.heard.sequence - report.fork.sequence);
  const lines = [
    `primary ${report.from} -> ${region} by force (${tookMs} ms)`,
    `${region} has everything up to sequence ${report.fork.sequence} (epoch ${report.fork.epoch}); changes that ${report.from} acknowledged after it are lost, or stay there`,
    `${region} knew of ${missed} more commands, up to sequence ${report.heard.sequence}`,
    `files with blocks that ${region} lacks and whose home region does not answer: ${report.files.length}${report.truncated ? " or more" : ""}`,
    ...report.files.map((it) => `  ${it.path}: ${it.slices} slices, ${bytesText(it.bytes)}`),
  ];
  return `${lines.join("\n")}\n`;
}
