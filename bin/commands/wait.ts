import type { Command } from "commander";
import { askAll, silence, waitAtLeader } from "../../admin/client.ts";
import { UserError } from "../../base/user-error.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import type { WireVersion } from "../../proto/generated/metadata.ts";
import { isNewer } from "../../proto/versions.ts";
import { PATH_HELP, readVolumeOf, regionOf, timeoutOption, withConfig, withJson } from "../options.ts";
import { locate } from "../place.ts";
import { bytesText } from "../text.ts";

const PROGRESS_MS = 1_000;
const TIMEOUT_MS = 24 * 3600_000;

export function addWait(program: Command): void {
  withJson(withConfig(program.command("wait")))
    .description("wait until a file or directory tree, as it is now, can be read in a region without the WAN")
    .argument("<path>", PATH_HELP)
    .requiredOption("--region <name>", "region in which it is to be readable")
    .addOption(timeoutOption("fail after this many seconds", TIMEOUT_MS))
    .action(async (path, options) => {
      const place = locate(path);
      const volume = readVolumeOf(place, options);
      const region = regionOf(volume, options.region);
      const startedMs = Date.now();
      const atLeast = await newestVersion(volume);
      const request = { volume: volume.volume, path: place.path, atLeast };
      let saidMs = startedMs;
      let last = "";
      for await (const it of waitAtLeader(volume, region, request, options.timeout)) {
        last = `sequence ${it.version?.sequence ?? 0} of ${atLeast.sequence}, ${it.pendingBlocks} blocks (${bytesText(it.pendingBytes)}) missing`;
        if (it.done) return done(options.json, place.path, region.name, Date.now() - startedMs, atLeast);
        if (Date.now() - saidMs < PROGRESS_MS) continue;
        saidMs = Date.now();
        process.stderr.write(`waiting for ${place.path} in ${region.name}: ${last}\n`);
      }
      throw new UserError(
        `${place.path} is not complete in ${region.name} after ${options.timeout / 1000} s${last === "" ? "" : `: ${last}`}`,
      );
    });
}

/** The version to wait for: the highest that any region has applied, or knows to be committed at the primary. */
async function newestVersion(volume: VolumeDescription): Promise<WireVersion> {
  const members = [...(await askAll(volume)).values()].flat();
  const versions = members.flatMap(({ status }) => [status?.version, status?.heard]).filter((it) => it !== undefined);
  if (versions.length === 0) throw new UserError(`volume ${volume.volume}: ${silence(members)}`);
  return versions.reduce((a, b) => (isNewer(b, a) ? b : a));
}

function done(json: boolean | undefined, path: string, region: string, waitedMs: number, version: WireVersion): void {
  if (json) process.stdout.write(`${JSON.stringify({ path, region, waitedMs, sequence: version.sequence })}\n`);
  else
    process.stdout.write(
      `${path} is complete in ${region} at sequence ${version.sequence} (${(waitedMs / 1000).toFixed(1)} s)\n`,
    );
}
