/** The last judgement on a run: what clients were told, and where it all has come to. */
import { compareVersions, type Version } from "../../core/ids.ts";
import { type Came, type DirectoryOperation, directoryModel } from "./checks/directory-model.ts";
import { checkLinearizable, type Timed } from "./checks/linearizability.ts";
import { type KnownEntry, show, type VolumeTruth } from "./checks/volume-truth.ts";
import { describe } from "./client.ts";
import type { History, Recorded } from "./history.ts";
import { hold, type World } from "./stage/world.ts";

/** An answer is what the state was at its version, and not older than what its session had seen. */
export function judgeAnswer(truth: VolumeTruth, recorded: Recorded): void {
  const { asked, came, version, token, directory, freshness } = recorded;
  if (came === undefined || version === undefined || freshness === "primary") return;
  hold(
    compareVersions(version, token) >= 0,
    () => `monotonic reads, read your writes: ${recorded.client} had seen ${show(token)}: ${describe(recorded)}`,
  );
  if (asked.kind === "lookup") {
    const inode = truth.names.at(`${directory}/${asked.name}`, version);
    const right =
      inode === undefined ? { error: "ENOENT" } : { error: "", inode, ...attributesAt(truth, inode, version) };
    hold(isSame(came, right), () => `at ${show(version)} it was ${JSON.stringify(right)}: ${describe(recorded)}`);
  }
  if (asked.kind === "getattr") {
    const attributes = truth.attributes.at(String(asked.inode), version);
    const right =
      attributes === undefined ? { error: "ENOENT" } : { error: "", inode: asked.inode, ...seenOf(attributes) };
    hold(isSame(came, right), () => `at ${show(version)} it was ${JSON.stringify(right)}: ${describe(recorded)}`);
  }
}

function attributesAt(truth: VolumeTruth, inode: number, version: Version) {
  const attributes = truth.attributes.at(String(inode), version);
  return attributes === undefined ? {} : seenOf(attributes);
}

function seenOf({ links, uid }: { links: number; uid: number }) {
  return { links, owner: uid };
}

function isSame(came: Came, right: Came): boolean {
  return (
    came.error === right.error && came.inode === right.inode && came.links === right.links && came.owner === right.owner
  );
}

export interface Judged {
  /** Operations that went through the search. */
  readonly operations: number;
  /** Changes that were acknowledged and lie past a fork. */
  readonly lost: number;
  /** Directories whose search was given up. */
  readonly undecided: number;
}

/** Every directory's history is linearizable; what was acknowledged is there, unless it lies past a reported fork. */
export function judgeHistory(world: World, truth: VolumeTruth, history: History): Judged {
  const byRequest = indexByRequest(truth);
  let lost = 0;
  const directories = new Map<number, Timed<DirectoryOperation & { readonly recorded: Recorded }>[]>();
  for (const recorded of history.recorded) {
    if (recorded.freshness === "token" || recorded.isSuspended) continue;
    const timed = timedOf(recorded, truth, byRequest);
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
    for (const { recorded } of [...verdict.happened.slice(-15), ...verdict.next]) {
      const { calledMs, answeredMs, client } = recorded;
      world.tell(`history: ${calledMs.toFixed(2)} to ${answeredMs.toFixed(2)} ${client} ${describe(recorded)}`);
    }
    const next = verdict.next.map(({ recorded }) => `${recorded.client}: ${describe(recorded)}`).join(" | ");
    hold(
      false,
      () => `not linearizable: after ${verdict.happened.length} operations none of these can be next: ${next}`,
    );
  }
  return { operations, lost, undecided };
}

type Requests = ReadonlyMap<string, KnownEntry>;

/** The first living entry of each request: a retry comes to what that came to. */
function indexByRequest(truth: VolumeTruth): Requests {
  const requests = new Map<string, KnownEntry>();
  for (const entry of truth.entries.values()) {
    const name = `${entry.session}/${entry.request}`;
    if (entry.session === 0 || requests.has(name) || !truth.isLiving(entry.version)) continue;
    if (!entry.outcome.ok && entry.outcome.error === "NOSESSION") continue; // it was not looked at: it comes in another one
    requests.set(name, entry);
  }
  return requests;
}

function entryOf(recorded: Recorded, requests: Requests): KnownEntry | undefined {
  for (const session of recorded.sessions) {
    const entry = requests.get(`${session}/${recorded.number}`);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/** `lost`: acknowledged, and past a fork. `none`: it is known to have changed nothing, or says nothing of the volume that lives. */
function timedOf(
  recorded: Recorded,
  truth: VolumeTruth,
  requests: Requests,
): Timed<DirectoryOperation & { readonly recorded: Recorded }> | "lost" | "none" {
  const { asked, calledAt, answeredAt, version, came } = recorded;
  const isLost = version !== undefined && !truth.isLiving(version);
  hold(
    !isLost || truth.forks.length > 0,
    () => `${show(version!)} is lost, and no epoch was begun by force: ${describe(recorded)}`,
  );
  if (recorded.freshness !== "primary") {
    if (came === undefined || isLost || isOfThePast(recorded, truth)) return "none";
    return { calledAt, answeredAt, operation: { asked, came, recorded } };
  }
  // What was acknowledged past a fork may have been done before it: then that was the answer of a retry.
  const entry = entryOf(recorded, requests);
  if (came !== undefined) {
    hold(
      entry !== undefined || isLost,
      () => `acknowledged, and not on the changelog: ${recorded.client} ${describe(recorded)}`,
    );
    return entry === undefined ? "lost" : { calledAt, answeredAt, operation: { asked, came, recorded } };
  }
  if (entry === undefined) return "none"; // never committed, and never will be: everything has come to rest
  return { calledAt, answeredAt: entry.moment, operation: { asked, came: cameOf(entry), recorded } };
}

/** Read in a region that did not know yet that the other one had been promoted by force. */
function isOfThePast({ version, answeredMs }: Recorded, { forks }: VolumeTruth): boolean {
  return forks.some(({ epoch, atMs }) => version !== undefined && version.epoch < epoch && answeredMs >= atMs);
}

function cameOf({ outcome }: KnownEntry): Came {
  if (!outcome.ok) return { error: outcome.error };
  const { attributes } = outcome;
  if (attributes === undefined) return { error: "" };
  return { error: "", inode: attributes.inode, links: attributes.links, owner: attributes.uid };
}
