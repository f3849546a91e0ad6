/** Checks the clients' history: each completion against the changelog, and at the end linearizability. */
import { compareVersions, type EpochCode, epochRegion, type SessionId, type Version } from "../../../core/ids.ts";
import { REGIONS } from "../cluster.ts";
import { invariant, type World } from "../environment/world.ts";
import { describe, type History, type RecordedOperation } from "../history.ts";
import { checkLinearizable, type Timed } from "./linearizability.ts";
import { type Completion, completionOf, type Invocation, type TreeOperation, treeModel } from "./tree-model.ts";
import { type KnownEntry, show, showEpoch, type VolumeChecker } from "./volume-checker.ts";

/**
 * Checks that a read returned the state at its version, and that this version is not older than what its session had
 * seen.
 */
export function checkCompletion(volume: VolumeChecker, recorded: RecordedOperation): void {
  const { invocation, completion, version, token, directory, freshness } = recorded;
  if (completion === undefined || version === undefined || freshness === "primary") return;
  invariant(
    "reads go forward",
    compareVersions(version, token) >= 0,
    () => `${recorded.client} had seen ${show(token)}: ${describe(recorded)}`,
  );
  checkOpenFile(volume, recorded, version);
  const expected = expectedAt(volume, directory, invocation, version);
  invariant(
    "reads are right",
    expected === undefined || isEqual(completion, expected),
    () => `the state at ${show(version)} was ${JSON.stringify(expected)}: ${describe(recorded)}`,
  );
}

/**
 * A file that is open is not gone, for as long as the session lasts that it is open in. One that was opened past the fork of
 * a forced promotion is not known after it.
 */
function checkOpenFile(volume: VolumeChecker, recorded: RecordedOperation, version: Version): void {
  const { completion, opened } = recorded;
  if (opened === undefined || completion?.error === "" || !volume.isBefore(opened.version, version)) return;
  invariant(
    "open files are kept",
    !volume.isSessionOpenAt(opened.session as SessionId, version),
    () => `${recorded.client} has it open since ${show(opened.version)}: ${describe(recorded)}`,
  );
}

/** What a read returns at a version; undefined: it is not compared. */
function expectedAt(
  volume: VolumeChecker,
  directory: number,
  invocation: Invocation,
  version: Version,
): Completion | undefined {
  const named = (name: string) => volume.names.at(`${directory}/${name}`, version);
  switch (invocation.kind) {
    case "lookup": {
      const inode = named(invocation.name);
      return inode === undefined
        ? { error: "ENOENT" }
        : { error: "", inode, ...volume.inodes.at(String(inode), version) };
    }
    case "open": {
      const { inode, name } = invocation;
      return named(name) === inode
        ? { error: "", inode, ...volume.inodes.at(String(inode), version) }
        : { error: "ESTALE" };
    }
    case "getattr": {
      const { inode } = invocation;
      const seen = volume.inodes.at(String(inode), version);
      return seen === undefined ? { error: "ENOENT" } : { error: "", inode, ...seen };
    }
    case "read": {
      const seen = volume.inodes.at(String(invocation.inode), version);
      return seen === undefined ? { error: "ENOENT" } : { error: "", content: seen.content ?? [] };
    }
    default:
      return undefined;
  }
}

/** A read does not return all that is known of an inode. */
function isEqual(completion: Completion, expected: Completion): boolean {
  const { error, inode, links, owner, size, content } = completion;
  return (
    error === expected.error &&
    (error !== "" || inode === undefined || inode === expected.inode) &&
    (links === undefined || links === expected.links) &&
    (owner === undefined || owner === expected.owner) &&
    (size === undefined || size === expected.size) &&
    (content === undefined || content.join() === (expected.content ?? []).join())
  );
}

/** A change that was asked for after its region had committed that a later epoch has begun is not acknowledged there. */
export function checkFences(
  fences: readonly { readonly region: string; readonly epoch: number; readonly at: number }[],
  recorded: RecordedOperation,
): void {
  const { freshness, completion, version, invokedAt } = recorded;
  if (freshness !== "primary" || completion === undefined || version === undefined) return;
  const region = REGIONS[epochRegion(version.epoch)];
  const fence = fences.find((one) => one.region === region && one.epoch > version.epoch && one.at < invokedAt);
  invariant(
    "a fence is final",
    fence === undefined,
    () => `${region} had a fence for ${showEpoch(fence!.epoch as EpochCode)}: ${recorded.client} ${describe(recorded)}`,
  );
}

export interface HistoryResult {
  /** Operations whose linearizability was checked, and how many of them were committed reads that a mirror answered. */
  readonly operations: number;
  readonly mirrorReads: number;
  /** Acknowledged changes that a forced promotion discarded. */
  readonly lost: number;
  /** Histories whose search exceeded its step limit. */
  readonly undecided: number;
}

type Judged = Timed<TreeOperation & { readonly recorded: RecordedOperation }>;

/**
 * Checks that the history is linearizable, and that each acknowledged change survives unless it is past a reported fork.
 * Directories between which nothing was renamed have histories of their own.
 */
export function checkHistory(world: World, volume: VolumeChecker, history: History): HistoryResult {
  const byRequest = indexByRequest(volume);
  let lost = 0;
  const judged: Judged[] = [];
  for (const recorded of history.operations) {
    if (recorded.freshness === "token" || recorded.isSuspended) continue;
    const timed = timedOf(recorded, volume, byRequest);
    if (timed === "lost") lost++;
    if (typeof timed !== "string") judged.push(timed);
  }
  let undecided = 0;
  for (const timed of cut(judged)) {
    const verdict = checkLinearizable(treeModel, timed);
    if (verdict.ok === undefined) undecided++;
    if (verdict.ok !== false) continue;
    for (const { recorded } of [...verdict.linearized.slice(-15), ...verdict.next]) {
      const { invokedMs, completedMs, client } = recorded;
      world.log(`history: ${invokedMs.toFixed(2)} to ${completedMs.toFixed(2)} ${client} ${describe(recorded)}`);
    }
    const next = verdict.next.map(({ recorded }) => `${recorded.client}: ${describe(recorded)}`).join(" | ");
    invariant(
      "linearizable",
      false,
      () => `after ${verdict.linearized.length} operations none of these can be linearized next: ${next}`,
    );
  }
  const mirrorReads = judged.filter(({ operation }) => isMirrorRead(operation.recorded)).length;
  return { operations: judged.length, mirrorReads, lost, undecided };
}

/** Whether a region answered that was not the primary of the epoch that it answered in. */
function isMirrorRead({ freshness, version, answeredBy }: RecordedOperation): boolean {
  return freshness === "committed" && version !== undefined && answeredBy !== REGIONS[epochRegion(version.epoch)];
}

/** The operations of directories that have an inode in common, together. */
function cut(judged: readonly Judged[]): readonly (readonly Judged[])[] {
  const parts = new Map<string, string>();
  const partOf = (name: string): string => {
    const next = parts.get(name) ?? name;
    return next === name ? name : partOf(next);
  };
  for (const { operation } of judged) {
    const part = partOf(directoryName(operation.directory));
    for (const name of relatives(operation)) parts.set(partOf(name), part);
  }
  const together = new Map<string, Judged[]>();
  for (const one of judged) {
    const part = partOf(directoryName(one.operation.directory));
    const others = together.get(part);
    if (others === undefined) together.set(part, [one]);
    else others.push(one);
  }
  return [...together.values()];
}

function directoryName(inode: number): string {
  return `directory ${inode}`;
}

/** The inodes that an operation is about, and the other directory of a rename. */
function relatives({ invocation, completion }: TreeOperation): string[] {
  const { kind } = invocation;
  if (kind === "lock" || kind === "unlock") return []; // the model does not know locks
  const inodes = new Set((completion.entries ?? []).map(([, inode]) => inode));
  if ("inode" in invocation) inodes.add(invocation.inode);
  if (completion.inode !== undefined) inodes.add(completion.inode);
  const names = [...inodes].map((inode) => `inode ${inode}`);
  return kind === "rename" ? [...names, directoryName(invocation.toDirectory)] : names;
}

type Requests = ReadonlyMap<string, KnownEntry>;

/** The first surviving entry of each request: its retries have the same outcome. */
function indexByRequest(volume: VolumeChecker): Requests {
  const requests = new Map<string, KnownEntry>();
  for (const entry of volume.entries.values()) {
    const name = `${entry.session}/${entry.request}`;
    if (entry.session === 0 || requests.has(name) || !volume.isSurviving(entry.version)) continue;
    if (!entry.outcome.ok && entry.outcome.error === "NOSESSION") continue; // not executed: the client repeats it in another session
    requests.set(name, entry);
  }
  return requests;
}

function entryOf(recorded: RecordedOperation, requests: Requests): KnownEntry | undefined {
  for (const session of recorded.sessions) {
    const entry = requests.get(`${session}/${recorded.number}`);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/**
 * `lost`: acknowledged, and discarded by a forced promotion. `none`: known to have had no effect, or says nothing
 * about the surviving history.
 */
function timedOf(recorded: RecordedOperation, volume: VolumeChecker, requests: Requests): Judged | "lost" | "none" {
  const { directory, invocation, invokedAt, completedAt, version, completion } = recorded;
  const isLost = version !== undefined && !volume.isSurviving(version);
  invariant(
    "acknowledged is kept",
    !isLost || volume.forks.length > 0,
    () => `${show(version!)} is lost without a forced promotion: ${describe(recorded)}`,
  );
  if (recorded.freshness !== "primary") {
    if (completion === undefined || isLost || isFromOldEpoch(recorded, volume)) return "none";
    const operation = { directory, invocation, completion, recorded };
    return { invokedAt, completedAt, place: (version?.sequence ?? 0) + 0.5, operation };
  }
  // An operation acknowledged past a fork may have executed before it: then the acknowledgement answered a retry.
  const entry = entryOf(recorded, requests);
  if (completion !== undefined) {
    invariant(
      "acknowledged is kept",
      entry !== undefined || isLost,
      () => `acknowledged but not on the changelog: ${recorded.client} ${describe(recorded)}`,
    );
    if (entry === undefined) return "lost";
    const operation = { directory, invocation, completion, recorded };
    return { invokedAt, completedAt, place: entry.version.sequence, operation };
  }
  if (entry === undefined) return "none"; // not committed, and never will be: the cluster is quiescent
  const operation = { directory, invocation, completion: completionOf(entry.outcome), recorded };
  return { invokedAt, completedAt: entry.appliedAt, place: entry.version.sequence, operation };
}

/** Whether this read was served by a region that had not yet learned of a forced promotion. */
function isFromOldEpoch({ version, completedMs }: RecordedOperation, { forks }: VolumeChecker): boolean {
  return forks.some(({ epoch, atMs }) => version !== undefined && version.epoch < epoch && completedMs >= atMs);
}
