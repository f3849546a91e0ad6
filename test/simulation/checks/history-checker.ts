/** Checks the clients' history: each completion against the changelog, and at the end linearizability. */
import { compareVersions, type Version } from "../../../core/ids.ts";
import { invariant, type World } from "../environment/world.ts";
import { describe, type History, type RecordedOperation } from "../history.ts";
import { type Completion, completionOf, type DirectoryOperation, directoryModel } from "./directory-model.ts";
import { checkLinearizable, type Timed } from "./linearizability.ts";
import { type KnownEntry, show, type VolumeChecker } from "./volume-checker.ts";

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
  if (invocation.kind === "lookup") {
    const inode = volume.names.at(`${directory}/${invocation.name}`, version);
    const expected =
      inode === undefined ? { error: "ENOENT" } : { error: "", inode, ...attributesAt(volume, inode, version) };
    invariant(
      "reads are right",
      isEqual(completion, expected),
      () => `the state at ${show(version)} was ${JSON.stringify(expected)}: ${describe(recorded)}`,
    );
  }
  if (invocation.kind === "getattr") {
    const attributes = volume.attributes.at(String(invocation.inode), version);
    const expected =
      attributes === undefined ? { error: "ENOENT" } : { error: "", inode: invocation.inode, ...seenOf(attributes) };
    invariant(
      "reads are right",
      isEqual(completion, expected),
      () => `the state at ${show(version)} was ${JSON.stringify(expected)}: ${describe(recorded)}`,
    );
  }
}

function attributesAt(volume: VolumeChecker, inode: number, version: Version) {
  const attributes = volume.attributes.at(String(inode), version);
  return attributes === undefined ? {} : seenOf(attributes);
}

function seenOf({ links, uid }: { links: number; uid: number }) {
  return { links, owner: uid };
}

function isEqual(completion: Completion, expected: Completion): boolean {
  return (
    completion.error === expected.error &&
    completion.inode === expected.inode &&
    completion.links === expected.links &&
    completion.owner === expected.owner
  );
}

export interface HistoryResult {
  /** Operations whose linearizability was checked. */
  readonly operations: number;
  /** Acknowledged changes that a forced promotion discarded. */
  readonly lost: number;
  /** Directories whose search exceeded its step limit. */
  readonly undecided: number;
}

/**
 * Checks that each directory's history is linearizable, and that each acknowledged change survives unless it is past
 * a reported fork.
 */
export function checkHistory(world: World, volume: VolumeChecker, history: History): HistoryResult {
  const byRequest = indexByRequest(volume);
  let lost = 0;
  const directories = new Map<number, Timed<DirectoryOperation & { readonly recorded: RecordedOperation }>[]>();
  for (const recorded of history.operations) {
    if (recorded.freshness === "token" || recorded.isSuspended) continue;
    const timed = timedOf(recorded, volume, byRequest);
    if (timed === "lost") lost++;
    if (typeof timed === "string") continue;
    const of = directories.get(recorded.directory) ?? [];
    of.push(timed);
    directories.set(recorded.directory, of);
  }
  let operations = 0;
  let undecided = 0;
  for (const timed of directories.values()) {
    operations += timed.length;
    const verdict = checkLinearizable(directoryModel, timed);
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
  return { operations, lost, undecided };
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
function timedOf(
  recorded: RecordedOperation,
  volume: VolumeChecker,
  requests: Requests,
): Timed<DirectoryOperation & { readonly recorded: RecordedOperation }> | "lost" | "none" {
  const { invocation, invokedAt, completedAt, version, completion } = recorded;
  const isLost = version !== undefined && !volume.isSurviving(version);
  invariant(
    "acknowledged is kept",
    !isLost || volume.forks.length > 0,
    () => `${show(version!)} is lost without a forced promotion: ${describe(recorded)}`,
  );
  if (recorded.freshness !== "primary") {
    if (completion === undefined || isLost || isFromOldEpoch(recorded, volume)) return "none";
    return { invokedAt, completedAt, operation: { invocation, completion, recorded } };
  }
  // An operation acknowledged past a fork may have executed before it: then the acknowledgement answered a retry.
  const entry = entryOf(recorded, requests);
  if (completion !== undefined) {
    invariant(
      "acknowledged is kept",
      entry !== undefined || isLost,
      () => `acknowledged but not on the changelog: ${recorded.client} ${describe(recorded)}`,
    );
    return entry === undefined ? "lost" : { invokedAt, completedAt, operation: { invocation, completion, recorded } };
  }
  if (entry === undefined) return "none"; // not committed, and never will be: the cluster is quiescent
  return {
    invokedAt,
    completedAt: entry.appliedAt,
    operation: { invocation, completion: completionOf(entry.outcome), recorded },
  };
}

/** Whether this read was served by a region that had not yet learned of a forced promotion. */
function isFromOldEpoch({ version, completedMs }: RecordedOperation, { forks }: VolumeChecker): boolean {
  return forks.some(({ epoch, atMs }) => version !== undefined && version.epoch < epoch && completedMs >= atMs);
}
