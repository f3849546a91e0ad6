import { type Command, InvalidArgumentError, Option } from "commander";
import { LOG_LEVELS } from "../base/logger.ts";
import { UserError } from "../base/user-error.ts";
import type { RegionDescription, VolumeDescription } from "../config/volume-description.ts";
import { readVolumeFile } from "../config/volume-file.ts";
import { recordedVolumeFile } from "./mount-record.ts";
import type { Place } from "./place.ts";

/** Describes the argument `<path>` of the commands that read it with `locate` (place.ts). */
export const PATH_HELP = "a path below a mount of mirrorfs, or a path of the volume, which begins with /";

/** The volume of a PATH argument: of the file that was named, or of the one that the mount it is in was made with. */
export function readVolumeOf(place: Place, options: { config?: string }): VolumeDescription {
  const { mount } = place;
  return readVolume({ config: options.config ?? (mount === undefined ? undefined : recordedVolumeFile(mount)) });
}

/** Adds `--config`, which every command on a volume takes. */
export function withConfig(command: Command): Command {
  return command.addOption(new Option("--config <file>", "volume file").env("MIRRORFS_CONFIG"));
}

export function withLogLevel(command: Command): Command {
  return command.addOption(
    new Option("--log-level <level>", "least severe level that is logged, in JSON lines on stderr")
      .choices(LOG_LEVELS)
      .default("info"),
  );
}

export function withJson(command: Command): Command {
  return command.addOption(new Option("--json", "print the result as JSON, for scripts"));
}

/** `--timeout <seconds>`; the action gets milliseconds. */
export function timeoutOption(description: string, defaultMs: number): Option {
  return new Option("--timeout <s>", description).argParser(seconds).default(defaultMs, String(defaultMs / 1000));
}

/** @throws UserError (exit 2) when no file was named, or its content is wrong. */
export function readVolume(options: { config?: string }): VolumeDescription {
  if (options.config === undefined)
    throw new UserError("no volume file: give --config FILE, or set MIRRORFS_CONFIG", 2);
  return readVolumeFile(options.config);
}

/**
 * The feature level that a server or agent claims to know, from MIRRORFS_TEST_FEATURES: for tests in which several versions of
 * the program work together. Undefined without it: the program's own.
 */
export function testedLevel(): number | undefined {
  const text = process.env.MIRRORFS_TEST_FEATURES;
  return text === undefined ? undefined : integer(1)(text);
}

/** @throws UserError (exit 2) when the volume has no such region. */
export function regionOf(volume: VolumeDescription, name: string): RegionDescription {
  const region = volume.regions.get(name);
  if (region !== undefined) return region;
  throw new UserError(
    `no region '${name}' in volume ${volume.volume} (regions: ${[...volume.regions.keys()].join(", ")})`,
    2,
  );
}

/** Parses an option's value: a whole number from `min` to `max`. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      max === Number.MAX_SAFE_INTEGER
        ? `It must be a whole number from ${min}.`
        : `It must be a whole number from ${min} to ${max}.`,
    );
  };
}

/** Parses an option's value in seconds. @returns milliseconds. */
function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value >= 0) return value * 1000;
  throw new InvalidArgumentError("It must be a number of seconds.");
}
