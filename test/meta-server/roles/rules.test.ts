import { expect, test } from "vitest";
import type { CommandOf } from "../../../core/commands.ts";
import {
  COUNTER_LIMIT,
  type EpochCode,
  epochCode,
  epochNumber,
  epochRegion,
  type RegionIndex,
  type Sequence,
} from "../../../core/ids.ts";
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
import type { ConfirmAnswer } from "../../../proto/generated/admin.ts";

/** This region is aws, the other one is gcp. */
const AWS = 0 as RegionIndex;
const GCP = 1 as RegionIndex;
const version = (number: number, region: RegionIndex = AWS) => ({
  epoch: epochCode(number, region),
  sequence: 7 as Sequence,
});

/** A region long after its start, with nothing to do. */
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
  isDiverged: false,
  fence: 0,
  lastCounter: 1000,
};

const gcp = (state: string, epoch?: number): ConfirmAnswer => ({
  uuid: state === "unformatted" ? "" : "u",
  region: "gcp",
  version: epoch === undefined ? undefined : version(epoch, state === "primary" ? GCP : AWS),
  chain: [],
  state,
  sealedTo: "",
  fence: 0,
});
const answers = (...all: ConfirmAnswer[]) => new Map(all.map((answer, i) => [`${answer.region}${i || ""}`, answer]));
const nobody = new Map<string, ConfirmAnswer>();
const against = (missing: readonly string[]) => new Map(missing.map((region) => [region, ""]));

const round: EpochEvent = { kind: "round" };
const reported: EpochEvent = { kind: "reported" };
const surveyed = (
  confirmed = answers(gcp("unformatted")),
  missing: string[] = [],
  areMissingDown = false,
): EpochEvent => ({
  kind: "surveyed",
  answers: { confirmed, missing: against(missing) },
  areMissingDown,
});
const watched = (confirmed = answers(gcp("mirror", 2)), missing: string[] = [], next = 0): EpochEvent => ({
  kind: "watched",
  answers: { confirmed, missing: against(missing) },
  next,
});
const targetAnswered = (answer: ConfirmAnswer): EpochEvent => ({
  kind: "targetAnswered",
  to: "gcp",
  seal: version(2),
  target: { answer, address: "gcp:1" },
});
const declined: EpochEvent = { kind: "declined", to: "gcp", seal: version(2) };
const epochSeen = (number: number): EpochEvent => ({ kind: "epochSeen", epoch: epochCode(number, GCP) });
const applied = (hasFresh: boolean): EpochEvent => ({ kind: "applied", hasFresh });

function beginningOf(command: CommandOf<"beginEpoch">): string {
  return command.how === "resumed" ? `resumed ${command.declined.sequence}` : command.how;
}

/** An action in a few words, e.g. "say: …" or "begin 3@0 sealed" (epoch 3, of region 0). */
function lineOf(action: Action): string {
  const epoch = (code: EpochCode) => `${epochNumber(code)}@${epochRegion(code)}`;
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
      const what =
        command.kind === "beginEpoch" ? `begin ${epoch(command.epoch)} ${beginningOf(command)}` : command.kind;
      return [what, ...linesOf(action.taken).map((line) => `taken: ${line}`)].join("; ");
    }
    default:
      return action.do;
  }
}

const linesOf = (step: Step) => step.map(lineOf);

const FENCED = "warn: a later epoch has begun in another region: this one is fenced";
const TAKEN_BACK =
  "begin 3@0 resumed 7; taken: say: ; taken: warn: the switchover was aborted: its target declined, and this region remains the primary";
const SEALED_TO_GCP = "say: switchover to gcp: changes wait for it to take over (0 s so far)";

type Case = readonly [why: string, at: Partial<Situation>, event: EpochEvent, step: readonly string[]];
type Cases = { readonly [S in State]: readonly Case[] };

const UNCLEARED: Partial<Situation> = { cleared: false, startedForMs: 5_000 };
const USED_UP = { lastCounter: COUNTER_LIMIT - 2 ** 20 };
const SEALED: Partial<Situation> = { sealedTo: GCP, sealedForMs: 500 };

/** Answers to what a primary or a sealed primary asked: they count in every state in which they may arrive. */
const ANSWERED: readonly Case[] = [
  ["nothing new", {}, watched(), ["reportLosses"]],
  ["a later epoch", {}, watched(answers(gcp("primary", 3))), [FENCED, "fence 3@1, else watched from 1"]],
  [
    "a later epoch for which the fence was not committed",
    {},
    watched(answers(gcp("primary", 3)), [], 1),
    ["reportLosses"],
  ],
  [
    "two later epochs, and the fence for the first was not committed",
    {},
    watched(answers(gcp("mirror", 3), gcp("primary", 4)), [], 1),
    [FENCED, "fence 4@1, else watched from 2"],
  ],
  [
    "an epoch for which it is fenced already",
    { fence: version(3, GCP).epoch },
    watched(answers(gcp("primary", 3))),
    ["reportLosses"],
  ],
  ["an epoch too far ahead to be real", {}, watched(answers(gcp("primary", 1027))), ["reportLosses"]],
  ["a region that does not answer, while this one serves", {}, watched(nobody, ["gcp"]), ["reportLosses"]],
  ["enough ids left", { lastCounter: USED_UP.lastCounter - 1 }, reported, []],
  ["ids almost used up", USED_UP, reported, ["begin 3@0 counters"]],
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

const NOT_FIRST: readonly Case[] = [["answers from before the volume was formatted", {}, surveyed(), []]];

const SEEN: readonly Case[] = [
  ["a client has seen a later epoch", {}, epochSeen(3), [FENCED, "fence 3@1"]],
  ["a client has seen this epoch", { version: version(3, GCP) }, epochSeen(3), []],
  ["a client has seen an epoch for which it is fenced already", { fence: version(3, GCP).epoch }, epochSeen(3), []],
  ["the furthest epoch that counts as real", {}, epochSeen(1026), [FENCED, "fence 1026@1"]],
  ["an epoch too far ahead to be real", {}, epochSeen(1027), []],
];

const DEAF: readonly Case[] = [["a client has seen a later epoch", {}, epochSeen(3), []]];
const TURNS: readonly Case[] = [["a turn", {}, applied(true), []]];

const CASES: Cases = {
  unformatted: [
    ["the first region asks whether another holds the volume", {}, round, ["survey"]],
    ["any other region waits", { firstRegion: "gcp" }, round, []],
    ["no region holds the volume", {}, surveyed(), ["format"]],
    [
      "another region holds it",
      {},
      surveyed(answers(gcp("primary", 3))),
      ["say: another region holds the volume: looking for its primary, to follow it", "followElsewhere"],
    ],
    [
      "this region had it and lost it",
      {},
      surveyed(answers(gcp("mirror", 1))),
      [
        "say: aws was the primary and has lost its state, and gcp still holds the volume: run 'mirrorfs promote --region gcp --force'",
        "followElsewhere",
      ],
    ],
    [
      "of two that hold it the later epoch counts",
      {},
      surveyed(answers(gcp("mirror", 1), gcp("primary", 2))),
      ["say: another region holds the volume: looking for its primary, to follow it", "followElsewhere"],
    ],
    [
      "its primary may be the region that does not answer",
      {},
      surveyed(answers(gcp("mirror", 1)), ["azure"]),
      ["say: another region holds the volume: looking for its primary, to follow it", "followElsewhere"],
    ],
    [
      "a server of one speaks against it",
      { startedForMs: 5_000 },
      {
        kind: "surveyed",
        answers: { confirmed: nobody, missing: new Map([["gcp", "another volume is held"]]) },
        areMissingDown: false,
      },
      [
        "say: not formatted: waiting for gcp, where another volume is held (5 s so far), which may hold the volume already; start the metadata servers there (mirrorfs meta)",
      ],
    ],
    [
      "one does not answer yet",
      { startedForMs: 9_999 },
      surveyed(nobody, ["gcp"]),
      [
        "say: not formatted: waiting for gcp (9 s so far), which may hold the volume already; start the metadata servers there (mirrorfs meta)",
      ],
    ],
    ["one does not answer in time", { startedForMs: 10_000 }, surveyed(nobody, ["gcp"]), ["format"]],
    [
      "one does not answer, and startAlone is wait",
      { startAlone: "wait" },
      surveyed(nobody, ["gcp"], true),
      [
        "say: not formatted: waiting for gcp (60 s so far), which may hold the volume already; start the metadata servers there (mirrorfs meta)",
      ],
    ],
    [
      "the servers of one are not running",
      { startedForMs: 2_999 },
      surveyed(nobody, ["gcp"], true),
      [
        "say: not formatted: waiting for gcp (2 s so far), which may hold the volume already; start the metadata servers there (mirrorfs meta)",
      ],
    ],
    [
      "the servers of one are not running for too long",
      { startedForMs: 3_000 },
      surveyed(nobody, ["gcp"], true),
      ["format"],
    ],
    ["it never asked for epochs", {}, watched(answers(gcp("primary", 3))), []],
    ["it makes no report", USED_UP, reported, []],
    ["it has no seal", {}, targetAnswered(gcp("primary", 3)), []],
    ["it has no seal to decline", {}, declined, []],
    ...DEAF,
    ...TURNS,
  ],
  waiting: [
    ["asks at every round", { ...UNCLEARED, watchedForMs: 0 }, round, ["watch"]],
    ["all have answered", UNCLEARED, watched(), ["clear", "say: ", "reportLosses"]],
    [
      "one does not answer yet",
      UNCLEARED,
      watched(nobody, ["gcp"]),
      [
        "say: changes are refused: waiting for gcp (5 s so far), where a later epoch may have begun; start the metadata servers there (mirrorfs meta)",
      ],
    ],
    [
      "one does not answer in time",
      { cleared: false, startedForMs: 10_000 },
      watched(nobody, ["gcp"]),
      ["clear", "say: ", "warn: serving without an answer from these regions", "reportLosses"],
    ],
    [
      "one does not answer, and startAlone is wait",
      { cleared: false, startAlone: "wait" },
      watched(nobody, ["gcp"]),
      [
        "say: changes are refused: waiting for gcp (60 s so far), where a later epoch may have begun; start the metadata servers there (mirrorfs meta)",
      ],
    ],
    ["a later epoch", UNCLEARED, watched(answers(gcp("primary", 3))), [FENCED, "fence 3@1, else watched from 1"]],
    ["its group has proposed since this server started", UNCLEARED, applied(true), ["clear", "say: "]],
    ["its group had proposed only before this server started", UNCLEARED, applied(false), []],
    ...ANSWERED,
    ...SEEN,
    ...NOT_FIRST,
  ],
  primary: [
    ["asks every two seconds", { watchedForMs: 2_000 }, round, ["watch"]],
    ["has asked less than two seconds ago", { watchedForMs: 1_999 }, round, []],
    ...ANSWERED,
    ...SEEN,
    ...NOT_FIRST,
    ...TURNS,
  ],
  sealed: [
    ["asks its target", SEALED, round, [SEALED_TO_GCP, "askTarget gcp"]],
    ...ANSWERED,
    ...SEEN,
    ...NOT_FIRST,
    ...TURNS,
  ],
  fenced: [
    [
      "refuses",
      {},
      round,
      [
        "say: fenced: a later epoch has begun in another region, so changes are refused here; 'mirrorfs status' shows the primary",
      ],
    ],
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
      ["unclear", "say: ", "begin 3@0 sealed; taken: info: took over as the primary, in the next epoch"],
    ],
    ["it has declined this seal", { sealedTo: AWS, isSealDeclined: true }, round, ["unclear", "say: "]],
    [
      "the epoch is sealed to it, and its state differs from the primary's (defect 16)",
      { version: version(2, GCP), sealedTo: AWS, isDiverged: true },
      round,
      ["unclear", "say: "],
    ],
    ["the epoch is sealed to another mirror", { sealedTo: GCP }, round, ["unclear", "say: "]],
    ["the volume does not know its region", { regionIndex: undefined }, round, ["unclear", "say: "]],
    ["a turn seals the epoch to it", { sealedTo: AWS }, applied(false), ["runRoundNow"]],
    ["a turn seals the epoch to another region", { sealedTo: GCP }, applied(true), []],
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

test("a primary that is not cleared is waiting, and every other role is its own state", () => {
  expect(stateOf("primary", false)).toBe("waiting");
  for (const role of ["primary", "mirror", "sealed", "fenced", "unformatted"] as const)
    expect([stateOf(role, true), role === "primary" || stateOf(role, false) === role]).toEqual([role, true]);
});
