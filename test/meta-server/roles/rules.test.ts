import { expect, test } from "vitest";
import { COUNTER_LIMIT, type EpochCode, epochCode, type RegionIndex, type Sequence } from "../../../core/ids.ts";
import {
  type Action,
  type EpochEvent,
  RULES,
  type Situation,
  type State,
  type Step,
  stateOf,
  stepOf,
} from "../../../meta-server/roles/epochs/rules.ts";
import type { RegionStatus } from "../../../proto/generated/admin.ts";

/** Region aws is here, gcp is the other one. */
const AWS = 0 as RegionIndex;
const GCP = 1 as RegionIndex;
const version = (number: number, region: RegionIndex = AWS) => ({
  epoch: epochCode(number, region),
  sequence: 7 as Sequence,
});

/** A region that is level with its epoch, long after its start. */
const CALM: Situation = {
  region: "aws",
  firstRegion: "aws",
  startAlone: "serve",
  startAloneWaitMs: 10_000,
  startedForMs: 60_000,
  watchedForMs: 60_000,
  sealedForMs: 0,
  sealPatienceMs: 10_000,
  cleared: true,
  version: version(2),
  regionIndex: AWS,
  regions: ["aws", "gcp"],
  sealedTo: undefined,
  isSealDeclined: false,
  fence: 0,
  lastCounter: 1000,
};

const gcp = (role: string, epoch?: number, epochRegion = role === "primary" ? "gcp" : "aws") =>
  ({
    region: "gcp",
    role,
    epochRegion,
    version: epoch && version(epoch, epochRegion === "gcp" ? GCP : AWS),
  }) as unknown as RegionStatus;
const answers = (...all: RegionStatus[]) => new Map(all.map((status, i) => [`${status.region}${i || ""}`, status]));
const nobody = new Map<string, RegionStatus>();

const round: EpochEvent = { kind: "round" };
const reported: EpochEvent = { kind: "reported" };
const surveyed = (
  others = answers(gcp("unformatted")),
  missing: string[] = [],
  areMissingDown = false,
): EpochEvent => ({
  kind: "surveyed",
  others,
  missing,
  areMissingDown,
});
const watched = (others = answers(gcp("mirror", 2)), missing: string[] = [], next = 0): EpochEvent => ({
  kind: "watched",
  others,
  missing,
  next,
});
const targetAnswered = (status: RegionStatus | undefined): EpochEvent => ({
  kind: "targetAnswered",
  to: "gcp",
  seal: version(2),
  status,
});
const declined: EpochEvent = { kind: "declined", to: "gcp", seal: version(2) };
const heard = (number: number): EpochEvent => ({ kind: "heard", epoch: epochCode(number, GCP) });
const applied = (hasFresh: boolean): EpochEvent => ({ kind: "applied", hasFresh });

/** An action as one word or two, e.g. "say: …", "begin 3@0" (epoch 3 of region 0). */
function lineOf(action: Action): string {
  const epoch = (code: EpochCode) => `${Math.floor(code / 16)}@${code % 16}`;
  switch (action.do) {
    case "say":
      return `say: ${action.message}`;
    case "log":
      return `${action.level}: ${action.text}`;
    case "fence":
      return `fence ${epoch(action.epoch)}${action.failed?.kind === "watched" ? `, else watched from ${action.failed.next}` : ""}`;
    case "askTarget":
    case "askToDecline":
      return `${action.do} ${action.to}`;
    case "propose": {
      const { command } = action;
      const what = command.kind === "beginEpoch" && !command.forced ? `begin ${epoch(command.epoch)}` : command.kind;
      return [what, ...linesOf(action.taken).map((line) => `taken: ${line}`)].join("; ");
    }
    default:
      return action.do;
  }
}

const linesOf = (step: Step) => step.map(lineOf);

const FENCED = "warn: a later epoch has begun elsewhere: fenced";
const TAKEN_BACK = "begin 3@0; taken: say: ; taken: warn: the switchover was given up: the epoch goes on here";
const SEALED_TO_GCP = "say: sealed to gcp: waiting for it to begin the next epoch";

type Case = readonly [why: string, at: Partial<Situation>, event: EpochEvent, step: readonly string[]];
type Cases = { readonly [S in State]: readonly Case[] };

const UNCLEARED: Partial<Situation> = { cleared: false, startedForMs: 5_000 };
const USED_UP = { lastCounter: COUNTER_LIMIT - 2 ** 24 };
const SEALED: Partial<Situation> = { sealedTo: GCP, sealedForMs: 500 };

/** What was asked as the primary, or as a sealed one: the answers count in every state that it may be in by then. */
const ANSWERED: readonly Case[] = [
  ["nothing new", {}, watched(), ["reportLosses"]],
  ["a later epoch", {}, watched(answers(gcp("primary", 3))), [FENCED, "fence 3@1, else watched from 1"]],
  ["one that could not be fenced", {}, watched(answers(gcp("primary", 3)), [], 1), ["reportLosses"]],
  [
    "two later epochs, the first could not be fenced",
    {},
    watched(answers(gcp("mirror", 3), gcp("primary", 4)), [], 1),
    [FENCED, "fence 4@1, else watched from 2"],
  ],
  [
    "an epoch that it is fenced for already",
    { fence: version(3, GCP).epoch },
    watched(answers(gcp("primary", 3))),
    ["reportLosses"],
  ],
  ["an epoch from nowhere", {}, watched(answers(gcp("primary", 67))), ["reportLosses"]],
  ["a silent region, once it serves", {}, watched(nobody, ["gcp"]), ["reportLosses"]],
  ["ids enough", { lastCounter: USED_UP.lastCounter - 1 }, reported, []],
  ["ids used up", USED_UP, reported, ["begin 3@0"]],
  ["the target is silent", { ...SEALED, sealedForMs: 10_000 }, targetAnswered(undefined), []],
  ["the target has begun", SEALED, targetAnswered(gcp("primary", 3)), ["wakeFollower"]],
  [
    "the target has not begun in time",
    { ...SEALED, sealedForMs: 10_000 },
    targetAnswered(gcp("mirror", 2)),
    ["askToDecline gcp"],
  ],
  ["the target has not begun yet", { ...SEALED, sealedForMs: 9_999 }, targetAnswered(gcp("mirror", 2)), []],
  ["the target has declined", SEALED, declined, [TAKEN_BACK]],
];

const NOT_FIRST: readonly Case[] = [["answers of before the volume was made", {}, surveyed(), []]];

const HEARD: readonly Case[] = [
  ["a client has seen a later epoch", {}, heard(3), [FENCED, "fence 3@1"]],
  ["a client has seen this epoch", { version: version(3, GCP) }, heard(3), []],
  ["a client has seen an epoch that it is fenced for", { fence: version(3, GCP).epoch }, heard(3), []],
  ["the furthest epoch that is taken for one", {}, heard(66), [FENCED, "fence 66@1"]],
  ["an epoch from nowhere", {}, heard(67), []],
];

const DEAF: readonly Case[] = [["a client has seen a later epoch", {}, heard(3), []]];
const TURNS: readonly Case[] = [["a turn", {}, applied(true), []]];

const CASES: Cases = {
  unformatted: [
    ["the first region asks who has the volume", {}, round, ["survey"]],
    ["another region waits for it", { firstRegion: "gcp" }, round, []],
    ["nobody has it", {}, surveyed(), ["format"]],
    [
      "another has it",
      {},
      surveyed(answers(gcp("primary", 3))),
      ["say: another region has the volume: following it", "followElsewhere"],
    ],
    [
      "it had it itself",
      {},
      surveyed(answers(gcp("mirror", 1, "aws"))),
      ["say: aws was the primary and has lost its state; gcp has the volume: promote gcp", "followElsewhere"],
    ],
    [
      "of two that have it the later epoch counts",
      {},
      surveyed(answers(gcp("mirror", 1, "aws"), gcp("primary", 2))),
      ["say: another region has the volume: following it", "followElsewhere"],
    ],
    [
      "one is silent",
      { startedForMs: 9_999 },
      surveyed(nobody, ["gcp"]),
      ["say: the volume is not made yet: waiting for gcp, which may have it already"],
    ],
    ["one is silent for too long", { startedForMs: 10_000 }, surveyed(nobody, ["gcp"]), ["format"]],
    [
      "one is silent, and nobody may begin alone",
      { startAlone: "wait" },
      surveyed(nobody, ["gcp"], true),
      ["say: the volume is not made yet: waiting for gcp, which may have it already"],
    ],
    [
      "the servers of one are not started",
      { startedForMs: 2_999 },
      surveyed(nobody, ["gcp"], true),
      ["say: the volume is not made yet: waiting for gcp, which may have it already"],
    ],
    [
      "the servers of one are not started for too long",
      { startedForMs: 3_000 },
      surveyed(nobody, ["gcp"], true),
      ["format"],
    ],
    ["never asked for epochs", {}, watched(answers(gcp("primary", 3))), []],
    ["no report", USED_UP, reported, []],
    ["no seal to be answered", {}, targetAnswered(gcp("primary", 3)), []],
    ["no seal to be declined", {}, declined, []],
    ...DEAF,
    ...TURNS,
  ],
  waiting: [
    ["asks at every round", { ...UNCLEARED, watchedForMs: 0 }, round, ["watch"]],
    ["all have answered", UNCLEARED, watched(), ["clear", "say: ", "reportLosses"]],
    [
      "one is silent",
      UNCLEARED,
      watched(nobody, ["gcp"]),
      ["say: waiting for gcp: a later epoch may have begun there"],
    ],
    [
      "one is silent for too long",
      { cleared: false, startedForMs: 10_000 },
      watched(nobody, ["gcp"]),
      ["clear", "say: ", "warn: serving without having heard of them", "reportLosses"],
    ],
    [
      "one is silent, and it must not serve alone",
      { cleared: false, startAlone: "wait" },
      watched(nobody, ["gcp"]),
      ["say: waiting for gcp: a later epoch may have begun there"],
    ],
    ["a later epoch", UNCLEARED, watched(answers(gcp("primary", 3))), [FENCED, "fence 3@1, else watched from 1"]],
    ["its own group has proposed since it started", UNCLEARED, applied(true), ["clear"]],
    ["what its group had proposed before it started", UNCLEARED, applied(false), []],
    ...ANSWERED,
    ...HEARD,
    ...NOT_FIRST,
  ],
  primary: [
    ["asks now and then", { watchedForMs: 2_000 }, round, ["watch"]],
    ["has asked just now", { watchedForMs: 1_999 }, round, []],
    ...ANSWERED,
    ...HEARD,
    ...NOT_FIRST,
    ...TURNS,
  ],
  sealed: [
    ["asks its target", SEALED, round, [SEALED_TO_GCP, "askTarget gcp"]],
    ...ANSWERED,
    ...HEARD,
    ...NOT_FIRST,
    ...TURNS,
  ],
  fenced: [
    ["refuses", {}, round, ["say: a later epoch has begun elsewhere: no change is taken here"]],
    ...ANSWERED,
    ...DEAF,
    ...NOT_FIRST,
    ...TURNS,
  ],
  mirror: [
    ["follows", { version: version(2, GCP) }, round, ["unclear", "say: "]],
    [
      "the epoch is sealed to it",
      { version: version(2, GCP), sealedTo: AWS },
      round,
      ["unclear", "say: ", "begin 3@0; taken: info: begun the next epoch"],
    ],
    ["it has declined that seal", { sealedTo: AWS, isSealDeclined: true }, round, ["unclear", "say: "]],
    ["the epoch is sealed to another mirror", { sealedTo: GCP }, round, ["unclear", "say: "]],
    ["the volume does not know its region", { regionIndex: undefined }, round, ["unclear", "say: "]],
    ["a turn seals the epoch to it", { sealedTo: AWS }, applied(false), ["runRoundNow"]],
    ["a turn seals the epoch to another", { sealedTo: GCP }, applied(true), []],
    ...ANSWERED,
    ...DEAF,
    ...NOT_FIRST,
    ...TURNS,
  ],
};

test.each(
  Object.entries(CASES).flatMap(([state, cases]) =>
    (cases as readonly Case[]).map(([why, at, event, step]) => ({ state: state as State, why, at, event, step })),
  ),
)("$state, $event.kind: $why", ({ state, at, event, step }) => {
  expect(linesOf(stepOf(state, { ...CALM, ...at }, event))).toEqual(step);
});

test("every cell of the table has an expectation", () => {
  for (const [state, row] of Object.entries(RULES)) {
    const expected = new Set(CASES[state as State].map(([, , event]) => event.kind));
    expect([...expected].sort(), state).toEqual(Object.keys(row).sort());
  }
});

test("a primary that is not cleared is waiting; every other role is a state as it is", () => {
  expect(stateOf("primary", false)).toBe("waiting");
  for (const role of ["primary", "mirror", "sealed", "fenced", "unformatted"] as const)
    expect([stateOf(role, true), role === "primary" || stateOf(role, false) === role]).toEqual([role, true]);
});
