import type { Command } from "commander";
import { callLeader } from "../../admin/client.ts";
import { type VolumeStatus, volumeStatus } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { integer, readVolume, regionOf, withConfig, withJson } from "../options.ts";
import { table } from "../text.ts";

/** Longer than the leader takes to ask every server. */
const ANSWER_MS_MAX = 15_000;

interface Levels {
  readonly volume: string;
  /** The volume's feature level. */
  readonly features: number;
  /** The highest level that each server knows; null when it does not answer. */
  readonly servers: readonly { region: string; id: number; address: string; supports: number | null }[];
}

export function addUpgrade(program: Command): void {
  withJson(withConfig(program.command("upgrade")))
    .description("show the volume's feature level and which levels its servers know, or raise it")
    .option(
      "--features <n>",
      "raise the level to this one: the next, once every server of every region knows it",
      integer(1),
    )
    .action(async (options) => {
      const volume = readVolume(options);
      const before = await volumeStatus(volume);
      if (before.features === null)
        throw new UserError("no metadata server answers: start them, and check the network");
      const isRaised = options.features !== undefined && options.features !== before.features;
      if (isRaised) await raise(volume, before, options.features);
      const levels = levelsOf(isRaised ? { ...before, features: options.features } : before);
      process.stdout.write(options.json ? `${JSON.stringify(levels)}\n` : textOf(levels));
    });
}

async function raise(volume: VolumeDescription, { primary }: VolumeStatus, level: number): Promise<void> {
  const request = { volume: volume.volume, level };
  const answer = await callLeader(volume, regionOf(volume, primary), "upgrade", request, ANSWER_MS_MAX);
  if (!answer.ok) throw new UserError(`feature level ${level}: ${answer.message}`);
}

function levelsOf({ volume, features, regions }: VolumeStatus): Levels {
  const servers = Object.entries(regions).flatMap(([region, { members }]) =>
    members
      .filter(({ membership }) => membership !== "removed")
      .map(({ id, address, supports }) => ({ region, id, address, supports })),
  );
  return { volume, features: features ?? 0, servers };
}

function textOf({ volume, features, servers }: Levels): string {
  const rows = servers.map((it) => [`${it.region}/${it.id}`, it.address, String(it.supports ?? "?")]);
  const next = features + 1;
  const lacking = servers.filter(({ supports }) => supports === null || supports < next);
  const advice =
    lacking.length === 0
      ? `every server knows level ${next}: 'mirrorfs upgrade --features ${next}' raises it\n`
      : lacking.length === servers.length
        ? ""
        : `level ${next} is not known by ${lacking.map((it) => `${it.region}/${it.id}`).join(", ")}\n`;
  return `volume ${volume}, feature level ${features}\n${table(["server", "address", "knows level"], rows)}${advice}`;
}
