import type { GroupTuning } from "../../consensus/runtime/tuning.ts";
import type { Prng } from "./environment/prng.ts";

/** What can go wrong, each with how often it does beside the others. */
export type FaultWeights = Partial<Readonly<Record<FaultName, number>>>;

export type FaultName =
  | "crash"
  | "crashLeader"
  | "powerLoss"
  | "partition"
  | "isolateLeader"
  | "leaveBehind"
  | "cutRegions"
  | "heal"
  | "weather"
  | "slowDisk"
  | "fullDisk"
  | "readError"
  | "clock"
  | "pause"
  | "transfer"
  | "transferTwice"
  | "stop"
  | "reset"
  | "switchover"
  | "promotion"
  | "members";

/** What kind of bad luck a seed has. */
export interface Profile {
  readonly name: ProfileName;
  readonly faults: FaultWeights;
  /** Virtual time with faults. */
  readonly faultsMs: number;
  readonly faultIntervalMsMax: number;
  /** That a crash comes between two given steps of a turn. */
  readonly crashPointProbability: number;
  /** That a leader falls in its first moments. */
  readonly newLeaderCrashProbability: number;
  readonly restartDelaysMs: readonly number[];
  /** A write or a read takes up to one of these, and after a fault to one of those. */
  readonly initialDiskDelaysMs: readonly number[];
  readonly diskDelaysMs: readonly number[];
  readonly networkDelaysMs: readonly number[];
  readonly wanMs: number;
  readonly slowProbability: number;
  readonly clients: number;
  readonly thinkMsMax: number;
  /** Of the client that only reads. */
  readonly readerThinkMsMax: number;
  readonly group: Partial<GroupTuning>;
  readonly changelog: { readonly retainHours: number; readonly retainGib: number };
  readonly startAlone: "wait" | "serve";
  readonly startAloneWaitMs: number;
}

export const PROFILES = [
  "weather",
  "storm",
  "votes",
  "transfers",
  "deposed",
  "disks",
  "mirror",
  "members",
  "switchovers",
  "promotions",
] as const;
export type ProfileName = (typeof PROFILES)[number];

const MIXED: FaultWeights = {
  crash: 3,
  crashLeader: 2,
  powerLoss: 1,
  partition: 2,
  isolateLeader: 2,
  leaveBehind: 1,
  cutRegions: 1,
  heal: 2,
  weather: 2,
  slowDisk: 1,
  fullDisk: 0.5,
  readError: 0.5,
  clock: 1,
  pause: 1,
  transfer: 1,
  stop: 0.5,
  reset: 1,
};

const FAULTS: Readonly<Record<ProfileName, FaultWeights>> = {
  weather: { ...MIXED, switchover: 1, members: 1 },
  /** Leader after leader falls in its first moments, with entries that no other has: what figure 3.7 is made of. */
  storm: { crashLeader: 2, crash: 1, isolateLeader: 1, powerLoss: 0.5, heal: 2, weather: 1, slowDisk: 1 },
  /** Elections on slow disks, by servers that fall between giving a vote and keeping it. */
  votes: { crash: 5, crashLeader: 3, powerLoss: 1, transfer: 2, isolateLeader: 1, heal: 1 },
  /** Two candidates in a term, and a third who falls when it has voted. */
  transfers: { transferTwice: 10, crashLeader: 1 },
  /** Leaders that do not know that they lead no more. */
  deposed: { leaveBehind: 8, isolateLeader: 1, clock: 1, weather: 1, pause: 1, transfer: 1 },
  disks: { crash: 3, powerLoss: 3, slowDisk: 2, fullDisk: 2, readError: 2, stop: 1, weather: 1 },
  mirror: { cutRegions: 4, heal: 3, crash: 2, crashLeader: 1, reset: 3, weather: 1, powerLoss: 1, pause: 1 },
  /** Servers that come and go for good. */
  members: { ...MIXED, members: 12 },
  switchovers: { ...MIXED, switchover: 12, cutRegions: 2 },
  promotions: { ...MIXED, promotion: 12, cutRegions: 3, switchover: 2 },
};

/** What a kind of bad luck fixes of what is drawn otherwise. */
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
};

const ELECTION_TICKS: Partial<Readonly<Record<ProfileName, number>>> = {
  storm: 3,
  votes: 3,
  deposed: 3,
  transfers: 10,
};

export function drawProfile(prng: Prng, wanted?: ProfileName): Profile {
  const drawn = prng.pick(PROFILES);
  const name = wanted ?? drawn;
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
    ...FIXED[name],
  };
}
