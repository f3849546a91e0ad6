import type { GroupTuning } from "../../consensus/runtime/tuning.ts";
import type { Prng } from "./environment/prng.ts";

/** The kinds of faults with their relative frequencies. */
export type FaultWeights = Partial<Readonly<Record<FaultName, number>>>;

export const FAULT_NAMES = [
  "crash",
  "destroyDisk",
  "crashLeader",
  "powerFailure",
  "partition",
  "isolateLeader",
  "strandLeader",
  "partitionRegions",
  "heal",
  "networkConditions",
  "slowDisk",
  "fullDisk",
  "readError",
  "clockSkew",
  "pause",
  "transferLeadership",
  "rivalCandidates",
  "gracefulStop",
  "resetConnections",
  "switchover",
  "promotion",
  "memberChange",
] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

/** What a seed's run is like: the faults, their frequency, and the workload. */
export interface Profile {
  readonly name: ProfileName;
  readonly faults: FaultWeights;
  /** How long faults are injected, in virtual time. */
  readonly faultsMs: number;
  readonly faultIntervalMsMax: number;
  /** The probability of a crash at each crash point. */
  readonly crashPointProbability: number;
  /** The probability that a leader crashes right after its election. */
  readonly newLeaderCrashProbability: number;
  readonly restartDelaysMs: readonly number[];
  /** The longest time of a read or write: one of these at first, one of `diskDelaysMs` after a slowDisk fault. */
  readonly initialDiskDelaysMs: readonly number[];
  readonly diskDelaysMs: readonly number[];
  readonly networkDelaysMs: readonly number[];
  readonly wanMs: number;
  readonly slowProbability: number;
  readonly clients: number;
  readonly thinkMsMax: number;
  /** Of the read-only client. */
  readonly readerThinkMsMax: number;
  readonly group: Partial<GroupTuning>;
  readonly changelog: { readonly retainHours: number; readonly retainGib: number };
  /** Present: read leases are on, and the clocks of a region's servers differ by up to this much. */
  readonly clockDriftPercent?: number;
  readonly startAlone: "wait" | "serve";
  readonly startAloneWaitMs: number;
}

export const PROFILES = [
  "weather",
  "storm",
  "votes",
  "transfers",
  "deposed",
  "leases",
  "disks",
  "mirror",
  "members",
  "switchovers",
  "promotions",
] as const;
export type ProfileName = (typeof PROFILES)[number];

const MIXED: FaultWeights = {
  crash: 3,
  destroyDisk: 1,
  crashLeader: 2,
  powerFailure: 1,
  partition: 2,
  isolateLeader: 2,
  strandLeader: 1,
  partitionRegions: 1,
  heal: 2,
  networkConditions: 2,
  slowDisk: 1,
  fullDisk: 0.5,
  readError: 0.5,
  clockSkew: 1,
  pause: 1,
  transferLeadership: 1,
  gracefulStop: 0.5,
  resetConnections: 1,
};

const FAULTS: Readonly<Record<ProfileName, FaultWeights>> = {
  weather: { ...MIXED, switchover: 1, memberChange: 1 },
  /**
   * Leader after leader crashes right after its election, with entries that no other member has: the scenario of
   * figure 3.7.
   */
  storm: { crashLeader: 2, crash: 1, isolateLeader: 1, powerFailure: 0.5, heal: 2, networkConditions: 1, slowDisk: 1 },
  /** Elections on slow disks, among servers that crash between granting a vote and persisting it. */
  votes: { crash: 5, crashLeader: 3, powerFailure: 1, transferLeadership: 2, isolateLeader: 1, heal: 1 },
  /** Two candidates in one term, and a third member that crashes after it has voted. */
  transfers: { rivalCandidates: 10, crashLeader: 1 },
  /** Deposed leaders that do not know it yet. */
  deposed: { strandLeader: 8, isolateLeader: 1, clockSkew: 1, networkConditions: 1, pause: 1, transferLeadership: 1 },
  /** The same with read leases: what a deposed leader answers then depends on its clock. */
  leases: { strandLeader: 8, isolateLeader: 2, clockSkew: 2, transferLeadership: 3, networkConditions: 1, pause: 1 },
  disks: {
    crash: 3,
    destroyDisk: 3,
    powerFailure: 3,
    slowDisk: 2,
    fullDisk: 2,
    readError: 2,
    gracefulStop: 1,
    networkConditions: 1,
  },
  mirror: {
    partitionRegions: 4,
    heal: 3,
    crash: 2,
    crashLeader: 1,
    resetConnections: 3,
    networkConditions: 1,
    powerFailure: 1,
    pause: 1,
  },
  /** Members are replaced by new servers. */
  members: { ...MIXED, memberChange: 12, destroyDisk: 2 },
  switchovers: { ...MIXED, switchover: 12, partitionRegions: 2 },
  promotions: { ...MIXED, promotion: 12, partitionRegions: 3, switchover: 2 },
};

/** Settings that a profile fixes; the others are drawn from the seed. */
const FIXED: Partial<Readonly<Record<ProfileName, Partial<Omit<Profile, "group">>>>> = {
  storm: {
    faultsMs: 90_000,
    faultIntervalMsMax: 2_500,
    newLeaderCrashProbability: 0.8,
    restartDelaysMs: [50, 400, 1_500],
    networkDelaysMs: [5, 20, 50],
    clients: 2,
    thinkMsMax: 1_000,
  },
  votes: {
    faultsMs: 30_000,
    faultIntervalMsMax: 700,
    crashPointProbability: 0.01,
    newLeaderCrashProbability: 0.8,
    initialDiskDelaysMs: [30, 150, 400],
    thinkMsMax: 400,
  },
  transfers: {
    faultsMs: 60_000,
    faultIntervalMsMax: 3_000,
    crashPointProbability: 0,
    newLeaderCrashProbability: 0,
    restartDelaysMs: [1, 50],
    networkDelaysMs: [2],
    slowProbability: 0,
    clients: 2,
    thinkMsMax: 1_000,
  },
  deposed: {
    faultsMs: 45_000,
    faultIntervalMsMax: 12_000,
    networkDelaysMs: [5, 20],
    slowProbability: 0.02,
    thinkMsMax: 100,
  },
  leases: {
    faultsMs: 45_000,
    faultIntervalMsMax: 8_000,
    crashPointProbability: 0,
    networkDelaysMs: [5, 20],
    slowProbability: 0.02,
    thinkMsMax: 100,
    readerThinkMsMax: 20,
    clockDriftPercent: 50,
  },
};

const ELECTION_TICKS: Partial<Readonly<Record<ProfileName, number>>> = {
  storm: 3,
  votes: 3,
  deposed: 3,
  transfers: 10,
  leases: 10,
};

export function drawProfile(prng: Prng, requested?: ProfileName): Profile {
  const drawn = prng.pick(PROFILES);
  const name = requested ?? drawn;
  return {
    name,
    faults: FAULTS[name],
    faultsMs: 22_000,
    faultIntervalMsMax: prng.pick([600, 1_500, 4_000]),
    crashPointProbability: prng.pick([0, 0.0002, 0.001, 0.004]),
    newLeaderCrashProbability: prng.pick([0, 0, 0.2, 0.5]),
    initialDiskDelaysMs: [2],
    restartDelaysMs: prng.pick([
      [1, 50, 400],
      [1, 300, 3_000],
      [50, 400, 1_500, 8_000],
    ]),
    diskDelaysMs: prng.pick([
      [1, 3, 20],
      [1, 5, 100],
      [1, 100, 400],
    ]),
    networkDelaysMs: prng.pick([
      [1, 5, 20],
      [1, 5, 30, 200],
      [50, 200],
    ]),
    wanMs: prng.pick([5, 20, 80]),
    slowProbability: prng.pick([0, 0.02, 0.1]),
    clients: prng.pick([3, 4, 5]),
    thinkMsMax: prng.pick([60, 150, 400]),
    readerThinkMsMax: prng.pick([50, 1_500]),
    group: {
      electionTicks: ELECTION_TICKS[name] ?? prng.pick([3, 10]),
      appendBytesMax: name === "storm" ? 1 : prng.pick([1, 300, 5_000]),
      window: { messagesMax: 4, bytesMax: 4_000 },
      tailBytesMax: 4_000,
      applyBytesMax: 1_500,
      cutStep: 20,
      keepEntries: prng.pick([10, 30]),
      keepForSlowEntries: prng.pick([30, 80]),
      proposalsMax: 100,
    },
    changelog: { retainHours: prng.pick([0, 0.002, 24]), retainGib: 1 },
    startAlone: prng.pick(["wait", "serve"]),
    startAloneWaitMs: prng.pick([1_000, 5_000]),
    ...(prng.chance(1 / 3) ? { clockDriftPercent: prng.pick([10, 30]) } : {}),
    ...FIXED[name],
  };
}
