import type { SliceId } from "../core/ids.ts";

/**
 * The name of a job, from its slices in order: `s-`, the first id, the steps to the next ones, and the attempt group. Never an
 * integer: BullMQ takes those for its own.
 */
export function jobName(slices: readonly SliceId[], group: number): string {
  const steps = slices.slice(1).map((id, index) => `.${id - slices[index]!}`);
  return `s-${slices[0]}${steps.join("")}-${group}`;
}

/** The slices that a job's name says. */
export function slicesOfJob(name: string): SliceId[] {
  let id = 0;
  return (name.split("-")[1] ?? "").split(".").map((step) => {
    id += Number(step);
    return id as SliceId;
  });
}
