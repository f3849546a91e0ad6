import type { VolumeDescription } from "../config/volume-description.ts";
import type { RegionStatus } from "../proto/generated/admin.ts";
import { epochNumberOf, isNewer } from "../proto/versions.ts";
import { askAll, type MemberAnswer, silence } from "./client.ts";

/** What `status --json` prints. */
export interface VolumeStatus {
  readonly volume: string;
  /** Number of the highest epoch that any region is in; 0 when none answered. */
  readonly epoch: number;
  readonly primary: string;
  /** The volume's feature level; null when no server answers, 0 before it is formatted. */
  readonly features: number | null;
  readonly regions: Readonly<Record<string, RegionSummary>>;
}

export interface RegionSummary {
  /** "primary" | "mirror" | "sealed" | "fenced" | "unformatted"; "unknown" when no member answers. */
  readonly role: string;
  readonly reachable: boolean;
  /** host:port of the leader; null when there is none. */
  readonly leader: string | null;
  readonly members: readonly MemberSummary[];
  readonly epoch: number | null;
  readonly sequence: number | null;
  readonly stateHash: string | null;
  readonly lag: { readonly commands: number | null; readonly ms: number | null };
  readonly blocks: {
    readonly pending: number | null;
    readonly pendingBytes: number | null;
    readonly oldestPendingMs: number | null;
    readonly copied: number | null;
    readonly failed: number | null;
  };
  /** Why the region refuses requests, or what it waits for; empty otherwise. */
  readonly message: string;
}

/** A metadata server that the volume file names, or that is a member of the region's group. */
export interface MemberSummary {
  readonly id: number;
  readonly address: string;
  readonly reachable: boolean;
  readonly leader: boolean;
  /** "voter" | "learner" | "joining" | "removed" | "unknown" */
  readonly membership: string;
  readonly sequence: number | null;
  /** The highest feature level that it knows; null when it does not answer. */
  readonly supports: number | null;
  /** Log entries that it lacks, as the leader knows; null without a leader. */
  readonly behind: number | null;
  /** Bytes received of a snapshot that is being sent to it; null when there is none. */
  readonly snapshotBytes: number | null;
  /** Messages and streams of peers that it has refused since its start, by the reason. */
  readonly refused: Readonly<Record<string, number>>;
}

/** Asks all members of all regions, in at most two seconds. Regions and members out of reach are marked as such. */
export async function volumeStatus(volume: VolumeDescription): Promise<VolumeStatus> {
  const answers = await askAll(volume);
  const statuses = new Map([...answers].map(([name, members]) => [name, regionStatus(members)]));
  const newest = [...statuses.values()].reduce(newer, undefined);
  const primary = newest?.epochRegion || volume.primary;
  const primarySequence = Math.max(
    statuses.get(primary)?.version?.sequence ?? 0,
    ...[...statuses.values()].map((it) => it?.heard?.sequence ?? 0),
  );
  const regions = [...answers].map(([name, members]): [string, RegionSummary] => [
    name,
    summary(members, statuses.get(name), primarySequence),
  ]);
  return {
    volume: volume.volume,
    epoch: epochNumberOf(newest?.version),
    primary,
    features: newest?.features ?? null,
    regions: Object.fromEntries(regions),
  };
}

/** The status that represents a region: its leader's, else that of the member that has applied most. */
export function regionStatus(members: readonly MemberAnswer[]): RegionStatus | undefined {
  const statuses = members.map((it) => it.status).filter((it) => it !== undefined);
  return statuses.filter((it) => it.isLeader).reduce(newer, undefined) ?? statuses.reduce(newer, undefined);
}

/**
 * The members that the volume file names, then others of the group. Each by its own status, or else as the group knows it.
 * @param region the status that represents the region.
 */
export function memberSummaries(
  answers: readonly MemberAnswer[],
  region: RegionStatus | undefined,
): readonly MemberSummary[] {
  const added = (region?.members ?? []).filter(({ id }) => !answers.some((answer) => answer.id === id));
  const all = [...answers, ...added.map(({ id, address }) => ({ id, address, status: undefined }))];
  return all.map(({ id, address, status }) => {
    const known = region?.members.find((member) => member.id === id);
    const knownAs = known === undefined ? "unknown" : known.learner ? "learner" : "voter";
    return {
      id,
      address,
      reachable: status !== undefined || (known?.reachable === true && !answers.some((answer) => answer.id === id)),
      leader: status?.isLeader ?? false,
      membership: status?.membership || knownAs,
      sequence: status?.version?.sequence ?? null,
      supports: status?.supports ?? null,
      behind: region?.isLeader === true && known !== undefined ? known.behind : null,
      snapshotBytes: known?.snapshotBytes || null,
      refused: status?.refused ?? {},
    };
  });
}

function newer(a: RegionStatus | undefined, b: RegionStatus | undefined): RegionStatus | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return isNewer(b.version, a.version) ? b : a;
}

function summary(
  members: readonly MemberAnswer[],
  it: RegionStatus | undefined,
  primarySequence: number,
): RegionSummary {
  const sequence = it?.version?.sequence ?? (it === undefined ? null : 0);
  return {
    role: it?.role ?? "unknown",
    reachable: it !== undefined,
    leader: members.find((member) => member.status?.isLeader)?.address ?? null,
    members: memberSummaries(members, it),
    epoch: it === undefined ? null : epochNumberOf(it.version),
    sequence,
    stateHash: it?.stateHash ?? null,
    lag: { commands: sequence === null ? null : Math.max(0, primarySequence - sequence), ms: it?.lagMs ?? null },
    blocks: {
      pending: it?.pendingBlocks ?? null,
      pendingBytes: it?.pendingBytes ?? null,
      oldestPendingMs: it?.oldestPendingMs ?? null,
      copied: it?.copiedBlocks ?? null,
      failed: it?.failedBlocks ?? null,
    },
    message: it?.message ?? silence(members),
  };
}
