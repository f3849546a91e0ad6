import type { Command } from "commander";
import { callLeader } from "../../admin/client.ts";
import { UserError } from "../../base/user-error.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { decodeAttributes } from "../../core/codec.ts";
import type { Attributes } from "../../core/commands.ts";
import type { InfoAnswer } from "../../proto/generated/admin.ts";
import { epochNumberOf } from "../../proto/versions.ts";
import { PATH_HELP, readVolumeOf, withConfig, withJson } from "../options.ts";
import { locate } from "../place.ts";
import { bytesText, table } from "../text.ts";

const INFO_MS_MAX = 10_000;

export function addInfo(program: Command): void {
  withJson(withConfig(program.command("info")))
    .description("show a file's attributes, and how much of its data each region's bucket holds")
    .argument("<path>", PATH_HELP)
    .action(async (path, options) => {
      const place = locate(path);
      const volume = readVolumeOf(place, options);
      const answers = await infoOfAll(volume, place.path);
      process.stdout.write(
        options.json ? `${JSON.stringify(asJson(place.path, answers), null, 2)}\n` : asText(place.path, answers),
      );
    });
}

/** Each region's answer; undefined for a region out of reach. @throws UserError when no region has the path. */
async function infoOfAll(volume: VolumeDescription, path: string): Promise<Map<string, InfoAnswer | undefined>> {
  const regions = [...volume.regions.values()];
  const results = await Promise.allSettled(
    regions.map((region) => callLeader(volume, region, "info", { volume: volume.volume, path }, INFO_MS_MAX)),
  );
  const answers = results.map((it) => (it.status === "fulfilled" ? it.value : undefined));
  if (answers.some((it) => it?.ok)) return new Map(regions.map((region, i) => [region.name, answers[i]]));
  const refusal = answers.find((it) => it !== undefined);
  if (refusal !== undefined)
    throw new UserError(refusal.message === "" ? `${path}: not found` : `${path}: ${refusal.message}`);
  throw (results[0] as PromiseRejectedResult).reason;
}

function asJson(path: string, answers: Map<string, InfoAnswer | undefined>) {
  const found = [...answers.values()].find((it) => it?.ok)!;
  const { inode, kind, mode, uid, gid, links, size, changed } = decodeAttributes(found.attributes);
  return {
    path,
    inode,
    kind,
    mode: mode.toString(8).padStart(4, "0"),
    uid,
    gid,
    links,
    size,
    changed,
    regions: Object.fromEntries([...answers].map(([name, it]) => [name, regionJson(it)])),
  };
}

function regionJson(it: InfoAnswer | undefined) {
  if (it === undefined) return { reachable: false };
  if (!it.ok) return { reachable: true, found: false, message: it.message };
  return {
    reachable: true,
    found: true,
    epoch: epochNumberOf(it.version),
    sequence: it.version?.sequence ?? 0,
    slices: it.slices,
    sliceBytes: it.sliceBytes,
    inlineBytes: it.inlineBytes,
    residentSlices: it.residentSlices,
    homes: Object.fromEntries(it.homes.map((home) => [home.region, { slices: home.slices, bytes: home.bytes }])),
  };
}

function asText(path: string, answers: Map<string, InfoAnswer | undefined>): string {
  const found = [...answers.values()].find((it) => it?.ok)!;
  const rows = [...answers].map(([name, it]) => {
    if (it === undefined) return [name, "out of reach", "", "", ""];
    if (!it.ok) return [name, it.message, "", "", ""];
    const homes = it.homes.map((home) => `${home.region} ${home.slices}`).join(", ");
    const size = `${it.slices} (${bytesText(it.sliceBytes)})`;
    return [
      name,
      `${it.version?.sequence ?? 0}`,
      size,
      bytesText(it.inlineBytes),
      `${it.residentSlices} of ${it.slices}${homes === "" ? "" : `; homes: ${homes}`}`,
    ];
  });
  return `${path}: ${describe(decodeAttributes(found.attributes))}\n${table(["region", "sequence", "slices", "inline", "in its bucket"], rows)}`;
}

function describe(it: Attributes): string {
  return `${it.kind}, inode ${it.inode}, mode ${it.mode.toString(8).padStart(4, "0")}, ${it.uid}:${it.gid}, ${it.links} links, ${it.size} bytes, changed at sequence ${it.changed}`;
}
