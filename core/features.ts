/**
 * The feature level of a volume decides which kinds of command, encodings and rules its changelog may have. A server knows all
 * levels up to FEATURE_LEVEL, and stops before it applies a command that brings a higher one. A rule that changes is a new level too: an entry is applied by the rule of the level at which it
 * was committed, for ever.
 *
 * | level | brings |
 * |---|---|
 * | 1 | the first version with levels |
 */

import type { Command } from "./commands.ts";

export const FEATURE_LEVEL = 1;

/** The level that a command brings, which every server that applies it must know; undefined for most commands. */
export function levelIn(command: Command): number | undefined {
  if (command.kind === "format") return command.features;
  return command.kind === "setFeatures" ? command.level : undefined;
}

/** Why a program cannot be used with a volume at this level, as a line for the operator; undefined if it can. */
export function tooOld(level: number, supports: number): string | undefined {
  if (level <= supports) return undefined;
  return `the volume is at feature level ${level}, and this program supports ${supports}: use a newer program`;
}
