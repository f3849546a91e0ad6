import type { Slice } from "../core/commands.ts";
import type { SliceId } from "../core/ids.ts";

/** A unit of work in the region's queue: the slices that one worker copies together. */
export interface CopyJob {
  /** Derived from the slices (`jobName`): agents that plan the same job name it alike, and the queue takes it once. */
  readonly name: string;
  /** In the order of their ids. */
  readonly slices: readonly Slice[];
  /** 1 is served first. */
  readonly priority: number;
  /** Look whether the blocks are in the bucket before copying them. */
  readonly check: boolean;
}

/** A slice to be copied, and how it fared until now. */
export interface Candidate {
  readonly slice: Slice;
  /** When it became pending, in ms since 1970. */
  readonly sinceMs: number;
  /** A reader waits for it. */
  readonly urgent: boolean;
  /** Failures in a row. */
  readonly failures: number;
  /** How often it was put into the queue again because it had vanished from there. */
  readonly readded: number;
}

/** The priority of a job that a reader waits for. */
export const URGENT_PRIORITY = 1;
const PACKED_BYTES_MAX = 64 * 1024;
const PACKED_SLICES_MAX = 16;
/** BullMQ's priorities end at 2,097,151: seconds of the deadline, modulo 23 days, stay below it. */
const PRIORITY_SPAN = 2_000_000;
/** A small slice goes before a large one that became pending up to this much earlier: nothing starves. */
const SIZE_HANDICAP_MS_PER_MIB = 100;

/**
 * Makes jobs of slices, in their order. Small neighbours that never failed share a job, so that the queue's own work stays
 * small beside theirs; every other slice has a job to itself.
 * @param freshMs a slice that has been pending for longer may be in the bucket already, copied by an earlier agent: it is checked.
 */
export function makeJobs(candidates: readonly Candidate[], nowMs: number, freshMs: number): CopyJob[] {
  const isChecked = ({ failures, readded, sinceMs }: Candidate) =>
    failures > 0 || readded > 0 || nowMs - sinceMs > freshMs;
  const jobs: CopyJob[] = [];
  let open: Candidate[] = [];
  const close = () => {
    if (open.length > 0) jobs.push(makeJob(open, isChecked(open[0]!)));
    open = [];
  };
  for (const candidate of candidates) {
    const packs = isPacked(candidate);
    const differs = open.length > 0 && isChecked(open[0]!) !== isChecked(candidate);
    if (!packs || differs || open.length === PACKED_SLICES_MAX) close();
    open.push(candidate);
    if (!packs) close();
  }
  close();
  return jobs;
}

function isPacked({ slice, urgent, failures, readded }: Candidate): boolean {
  return slice.bytes <= PACKED_BYTES_MAX && !urgent && failures + readded === 0;
}

function makeJob(candidates: readonly Candidate[], check: boolean): CopyJob {
  const first = candidates[0]!;
  const slices = candidates.map(({ slice }) => slice).sort((a, b) => a.id - b.id);
  const ids = slices.map(({ id }) => id);
  return {
    // The first re-add keeps the name, so that the agents of a region agree on it. If the queue ignores that one too, the
    // next gets another name.
    name: jobName(ids, first.readded >> 1),
    slices,
    priority: first.urgent ? URGENT_PRIORITY : 2 + (Math.floor(deadlineMs(first) / 1000) % PRIORITY_SPAN),
    check,
  };
}

/** Slices are copied in the order of this time (ms since 1970), urgent ones apart. */
export function deadlineMs({ slice, sinceMs }: Candidate): number {
  return sinceMs + Math.round((slice.bytes / 1024 / 1024) * SIZE_HANDICAP_MS_PER_MIB);
}

/**
 * The name of a job, from its slices in order: `s-`, the first id, the steps to the next ones, and the attempt group. Never
 * an integer: BullMQ reserves those for the ids that it makes itself.
 */
export function jobName(slices: readonly SliceId[], group: number): string {
  const steps = slices.slice(1).map((id, index) => `.${id - slices[index]!}`);
  return `s-${slices[0]}${steps.join("")}-${group}`;
}

/** The slices that a job's name encodes. */
export function slicesOfJob(name: string): SliceId[] {
  let id = 0;
  return (name.split("-")[1] ?? "").split(".").map((step) => {
    id += Number(step);
    return id as SliceId;
  });
}
