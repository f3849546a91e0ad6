import type { GroupTuning } from "../../meta-server/runtime/tuning.ts";
import type { Chance } from "./stage/chance.ts";

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
  readonly faultMsMax: number;
  /** That a crash comes between two given steps of a turn. */
  readonly crashPointShare: number;
  /** That a leader falls in its first moments. */
  readonly newLeaderCrashShare: number;
  readonly restartsMs: readonly number[];
  /** A write or a read takes up to one of these, and after a fault to one of those. */
  readonly firstDisksMs: readonly number[];
  readonly disksMs: readonly number[];
  readonly delaysMs: readonly number[];
  readonly wanMs: number;
  readonly slowShare: number;
  readonly clients: number;
  readonly thinkMsMax: number;
  readonly group: Partial<GroupTuning>;
  readonly changelog: { readonly retainHours: number; readonly retainGib: number };
  readonly startAlone: "wait" | "serve";
  readonly startAloneWaitMs: number;
}

export const PROFILES = [
  "weather",
  "storm",
  "votes",
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
  votes: { crash: 1, crashLeader: 1, powerLoss: 0.3, transferTwice: 10, heal: 1, slowDisk: 1 },
  /** Leaders that do not know that they lead no more. */
  deposed: { leaveBehind: 5, isolateLeader: 3, clock: 2, heal: 1, weather: 1, pause: 2, transfer: 1 },
  disks: { crash: 3, powerLoss: 3, slowDisk: 2, fullDisk: 2, readError: 2, stop: 1, weather: 1 },
  mirror: { cutRegions: 4, heal: 3, crash: 2, crashLeader: 1, reset: 3, weather: 1, powerLoss: 1, pause: 1 },
  /** Servers that come and go for good. */
  members: { ...MIXED, members: 12 },
  switchovers: { ...MIXED, switchover: 12, cutRegions: 2 },
  promotions: { ...MIXED, promotion: 5, cutRegions: 3, switchover: 2 },
};

export function drawProfile(chance: Chance, wanted?: ProfileName): Profile {
  const drawn = chance.pick(PROFILES);
  const name = wanted ?? drawn;
  const isVotes = name === "votes";
  const isStorm = name === "storm" || isVotes;
  return {
    name,
    faults: FAULTS[name],
    faultsMs: isStorm ? 45_000 : 22_000,
    faultMsMax: isVotes ? 1_200 : isStorm ? 2_500 : chance.pick([600, 1_500, 4_000]),
    crashPointShare: isVotes ? 0.0005 : chance.pick([0, 0.0002, 0.001, 0.004]),
    newLeaderCrashShare: isVotes ? 0 : isStorm ? 0.8 : chance.pick([0, 0, 0.2, 0.5]),
    firstDisksMs: isVotes ? [2, 2, 30, 150, 400] : [2],
    restartsMs: isVotes
      ? [1, 1, 50, 400]
      : isStorm
        ? [50, 400, 1_500]
        : chance.pick([
            [1, 50, 400],
            [1, 300, 3_000],
            [50, 400, 1_500, 8_000],
          ]),
    disksMs: chance.pick([
      [1, 3, 20],
      [1, 5, 100],
      [1, 100, 400],
    ]),
    delaysMs: chance.pick([
      [1, 5, 20],
      [1, 5, 30, 200],
      [50, 200],
    ]),
    wanMs: chance.pick([5, 20, 80]),
    slowShare: chance.pick([0, 0.02, 0.1]),
    clients: chance.pick([3, 4, 5]),
    thinkMsMax: isStorm ? 400 : chance.pick([60, 150, 400]),
    group: {
      electionTicks: isStorm ? 3 : chance.pick([3, 10]),
      appendBytesMax: isStorm ? 1 : chance.pick([1, 300, 5_000]),
      window: { messagesMax: 4, bytesMax: 4_000 },
      tailBytesMax: 4_000,
      applyBytesMax: 1_500,
      cutStep: 20,
      keepEntries: chance.pick([10, 30]),
      keepForSlowEntries: chance.pick([30, 80]),
      proposalsMax: 100,
    },
    changelog: { retainHours: chance.pick([0, 0.002, 24]), retainGib: 1 },
    startAlone: chance.pick(["wait", "serve"]),
    startAloneWaitMs: chance.pick([1_000, 5_000]),
  };
}
