import { expect, test } from "vitest";
import { COUNTER_LIMIT, epochCode, type RegionIndex, type Sequence } from "../../../core/ids.ts";
import {
  type Asked,
  type EpochEvent,
  RULES,
  type Situation,
  type State,
  stateOf,
  stepOf,
  waits,
} from "../../../meta-server/roles/epochs/rules.ts";
import type { ConfirmAnswer } from "../../../proto/generated/admin.ts";
import { linesOf } from "./step-lines.ts";

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
  waitedMs: 5_000,
  askedForMs: 500,
  sealedForMs: 0,
  sealPatienceMs: 10_000,
  isCleared: true,
  hasNewLife: false,
  hasClearedPeer: false,
  laterEpoch: 0,
  version: version(2),
  regionIndex: AWS,
  regions: ["aws", "gcp", "azure"],
  sealedTo: undefined,
  isSealDeclined: false,
  excused: [],
  sourceCommitted: undefined,
  fence: 0,
  isFenceAbandoned: false,
  lastCounter: 1000,
};

const gcp = (state: string, epoch?: number, fence = 0): ConfirmAnswer => ({
  uuid: state === "unformatted" ? "" : "u",
  region: "gcp",
  version: epoch === undefined ? undefined : version(epoch, state === "primary" ? GCP : AWS),
  chain: [],
  state,
  sealedTo: "",
  fence,
});
const answers = (...all: ConfirmAnswer[]) => new Map(all.map((answer, i) => [`${answer.region}${i || ""}`, answer]));
const nobody = new Map<string, ConfirmAnswer>();

const round: EpochEvent = { kind: "round" };
const reported: EpochEvent = { kind: "reported" };
const hinted: EpochEvent = { kind: "hinted" };
const applied: EpochEvent = { kind: "applied" };
const declined: EpochEvent = { kind: "declined", to: "gcp", seal: version(2) };
/** `missing`: the regions that did not answer, or what one of their servers said against it. */
const answered = (
  confirmed = answers(gcp("mirror", 2)),
  missing: readonly string[] | Record<string, string> = [],
  asked: Partial<Asked> = {},
): EpochEvent => ({
  kind: "answered",
  asked: { epoch: version(2).epoch, excused: [], ...asked },
  answers: {
    confirmed,
    missing: new Map(Array.isArray(missing) ? missing.map((region) => [region, ""]) : Object.entries(missing)),
  },
});
const targetAnswered = (answer: ConfirmAnswer): EpochEvent => ({
  kind: "targetAnswered",
  to: "gcp",
  seal: version(2),
  target: { answer, address: "gcp:1" },
});

const OVER = "warn: a later epoch has begun in another region: this one is fenced";
const ended = (epoch: string) => [`unclear for ${epoch}`, OVER, `fence ${epoch}`];
const ALONE = "warn: serving without an answer from these regions";
const TAKEN_BACK =
  "begin 3@0 resumed 7; taken: clear; taken: say: ; taken: warn: the switchover was aborted: its target declined, and this region remains the primary";
const TAKEN_OVER = "begin 3@0 sealed; taken: clear; taken: info: took over as the primary, in the next epoch";
const SEALED_TO_GCP = "say: switchover to gcp: changes wait for it to take over (0 s so far)";
const FENCED =
  "say: fenced: a later epoch has begun in another region, so changes are refused here; 'mirrorfs status' shows the primary";
const WAITS_FOR_GCP =
  "say: changes are refused: waiting for gcp (5 s so far), where a later epoch may have begun; start the metadata servers there (mirrorfs meta), or, if it is gone for good, run 'mirrorfs region lost gcp'";
const NOT_FORMATTED =
  "say: not formatted: waiting for gcp (5 s so far), which may hold the volume already: start the metadata servers there (mirrorfs meta), or, if it never held it, run 'mirrorfs format --without gcp'";
const FOLLOWS = ["say: another region holds the volume: looking for its primary, to follow it", "followElsewhere"];

type Case = readonly [why: string, at: Partial<Situation>, event: EpochEvent, step: readonly string[]];
type Cases = { readonly [S in State]: readonly Case[] };

const UNCLEARED: Partial<Situation> = { isCleared: false };
const USED_UP = { lastCounter: COUNTER_LIMIT - 2 ** 20 };
const SEALED: Partial<Situation> = { sealedTo: GCP, sealedForMs: 500 };
const TARGET: Partial<Situation> = { isCleared: false, version: version(2, GCP), sealedTo: AWS };
const ASKED_OF_GCP: Partial<Asked> = { epoch: version(2, GCP).epoch, excused: [] };

/** A later epoch ends every epoch of this region, whatever else it waits for, and however far ahead it is. */
const OVERTAKEN: readonly Case[] = [
  ["a later epoch", {}, answered(answers(gcp("primary", 3))), ended("3@1")],
  ["a later epoch at a region that follows it", {}, answered(answers(gcp("mirror", 3))), ended("3@0")],
  ["a region that is fenced by a later epoch", {}, answered(answers(gcp("fenced", 1, version(4).epoch))), ended("4@0")],
  ["the latest of two", {}, answered(answers(gcp("mirror", 3), gcp("primary", 4))), ended("4@1")],
  [
    "an epoch that is thousands ahead (defect: more than 64 was never fenced)",
    {},
    answered(answers(gcp("primary", 8000))),
    ended("8000@1"),
  ],
  [
    "a later epoch, although another region does not answer",
    {},
    answered(answers(gcp("primary", 3)), ["azure"]),
    ended("3@1"),
  ],
  [
    "the fence for a later epoch is not committed, and that region does not answer now",
    { isCleared: false, laterEpoch: version(3, GCP).epoch },
    answered(answers(gcp("mirror", 2))),
    ["fence 3@1"],
  ],
];

const HINTED: readonly Case[] = [
  ["a later epoch is spoken of: that alone fences nobody", { askedForMs: 1_000 }, hinted, ["ask"]],
  ["a later epoch is spoken of again within a second", { askedForMs: 999 }, hinted, []],
];

const UNSEALED: readonly Case[] = [
  ["it is not sealed", { ...SEALED, sealedForMs: 10_000 }, targetAnswered(gcp("mirror", 2)), []],
  ["it is not sealed, so there is nothing to take back", {}, declined, []],
];
const NO_REPORT: readonly Case[] = [["it makes no report", USED_UP, reported, []]];
const TURNS: readonly Case[] = [["a turn", { sealedTo: GCP }, applied, []]];

const CASES: Cases = {
  unformatted: [
    ["the first region asks whether another holds the volume", {}, round, ["ask"]],
    ["any other region waits", { firstRegion: "gcp" }, round, []],
    ["no region holds the volume", {}, answered(answers(gcp("unformatted"))), ["format"]],
    ["another region holds it", {}, answered(answers(gcp("primary", 3))), FOLLOWS],
    [
      "this region had it and lost it",
      {},
      answered(answers(gcp("mirror", 1))),
      [
        "say: aws was the primary and has lost its state, and gcp still holds the volume: run 'mirrorfs promote --region gcp --force'",
        "followElsewhere",
      ],
    ],
    ["its primary may be the region that does not answer", {}, answered(answers(gcp("mirror", 1)), ["azure"]), FOLLOWS],
    ["of two that hold it the later epoch counts", {}, answered(answers(gcp("mirror", 1), gcp("primary", 2))), FOLLOWS],
    ["one does not answer", {}, answered(nobody, ["gcp"]), [NOT_FORMATTED]],
    [
      "one does not answer, however long it is waited for (defect: formatted after a mere wait)",
      { waitedMs: 86_400_000 },
      answered(nobody, ["gcp"]),
      [NOT_FORMATTED.replace("5 s", "86400 s")],
    ],
    [
      "two do not answer, and a server of one holds another volume",
      {},
      answered(nobody, { gcp: "another volume is held", azure: "" }),
      [
        NOT_FORMATTED.replace("waiting for gcp", "waiting for gcp, where another volume is held; azure").replace(
          "--without gcp",
          "--without gcp --without azure",
        ),
      ],
    ],
    ["a later epoch is spoken of", { askedForMs: 60_000 }, hinted, []],
    ...UNSEALED,
    ...NO_REPORT,
    ...TURNS,
  ],
  waiting: [
    ["asks at every round", { ...UNCLEARED, askedForMs: 0 }, round, ["ask"]],
    [
      "proposes the fence until it is committed, and does nothing else",
      { ...UNCLEARED, laterEpoch: version(3, GCP).epoch },
      round,
      ["fence 3@1"],
    ],
    ["all have answered", UNCLEARED, answered(), ["clear", "say: ", "reportLosses"]],
    ["all have answered, but were asked in another epoch", UNCLEARED, answered(undefined, [], { epoch: 1 }), []],
    ["one does not answer yet", UNCLEARED, answered(nobody, ["gcp"]), [WAITS_FOR_GCP]],
    [
      "a server of one speaks against it",
      UNCLEARED,
      answered(nobody, { gcp: "gcp holds another volume" }),
      [WAITS_FOR_GCP.replace("waiting for gcp", "waiting for gcp, where gcp holds another volume")],
    ],
    [
      "one does not answer in time",
      { ...UNCLEARED, waitedMs: 10_000 },
      answered(nobody, ["gcp"]),
      ["clear", "say: ", ALONE, "reportLosses"],
    ],
    [
      "one does not answer, and startAlone is wait",
      { ...UNCLEARED, startAlone: "wait", waitedMs: 60_000 },
      answered(nobody, ["gcp"]),
      [WAITS_FOR_GCP.replace("5 s", "60 s")],
    ],
    [
      "one does not answer yet, and another member is cleared",
      { ...UNCLEARED, hasClearedPeer: true },
      answered(nobody, ["gcp"]),
      [WAITS_FOR_GCP, "transferLeadership"],
    ],
    [
      "one does not answer, and was declared gone before it was asked",
      { ...UNCLEARED, excused: ["gcp"] },
      answered(nobody, ["gcp"], { excused: ["gcp"] }),
      ["clear", "say: ", ALONE, "reportLosses"],
    ],
    [
      "an excuse that came after the questions: they are asked anew",
      { ...UNCLEARED, excused: ["gcp"] },
      answered(nobody, ["gcp"]),
      [WAITS_FOR_GCP],
    ],
    ["ids almost used up, while it is not cleared", { ...USED_UP, ...UNCLEARED }, reported, []],
    ...OVERTAKEN,
    ...HINTED,
    ...UNSEALED,
    ...TURNS,
  ],
  primary: [
    ["asks every two seconds", { askedForMs: 2_000 }, round, ["ask"]],
    ["has asked less than two seconds ago", { askedForMs: 1_999 }, round, []],
    ["a member has started anew", { hasNewLife: true }, round, ["clear"]],
    // Whatever it said when it led the region before, while another member formatted the volume, is over.
    ["nothing new", {}, answered(), ["say: ", "reportLosses"]],
    ["a region that does not answer, while this one serves", {}, answered(nobody, ["gcp"]), ["say: ", "reportLosses"]],
    [
      "a region that was declared gone answers",
      { excused: ["gcp"] },
      answered(),
      ["say: ", "countAgain", "reportLosses"],
    ],
    ["enough ids left", { lastCounter: USED_UP.lastCounter - 1 }, reported, []],
    ["ids almost used up", USED_UP, reported, ["begin 3@0 counters"]],
    ...OVERTAKEN,
    ...HINTED,
    ...UNSEALED,
    ...TURNS,
  ],
  sealed: [
    ["asks its target", SEALED, round, [SEALED_TO_GCP, "askTarget gcp"]],
    ["asks all regions first while it is not cleared", { ...SEALED, ...UNCLEARED }, round, ["ask"]],
    [
      "proposes the fence until it is committed, and does nothing else",
      { ...SEALED, ...UNCLEARED, laterEpoch: version(3).epoch },
      round,
      ["fence 3@0"],
    ],
    ["all have answered", { ...SEALED, ...UNCLEARED }, answered(), ["clear", "say: ", "reportLosses"]],
    ["one does not answer", { ...SEALED, ...UNCLEARED }, answered(nobody, ["gcp"]), [WAITS_FOR_GCP]],
    ["ids almost used up", { ...SEALED, lastCounter: 0 }, reported, []],
    ["the target has begun", SEALED, targetAnswered(gcp("primary", 3)), ["wakeFollower"]],
    ["the target has begun, as another region reports", SEALED, answered(answers(gcp("primary", 3))), ["wakeFollower"]],
    ["the target is in an epoch that was begun by force", SEALED, targetAnswered(gcp("primary", 16)), ended("16@1")],
    [
      "the target has not begun in time",
      { ...SEALED, sealedForMs: 10_000 },
      targetAnswered(gcp("mirror", 2)),
      ["askToDecline gcp"],
    ],
    [
      "the target has not begun in time, but this leader is not cleared",
      { ...SEALED, ...UNCLEARED, sealedForMs: 10_000 },
      targetAnswered(gcp("mirror", 2)),
      [],
    ],
    ["the target has not begun yet", { ...SEALED, sealedForMs: 9_999 }, targetAnswered(gcp("mirror", 2)), []],
    ["the target has declined", SEALED, declined, [TAKEN_BACK]],
    ["the target has declined, but this leader is not cleared", { ...SEALED, ...UNCLEARED }, declined, []],
    ...OVERTAKEN,
    ...HINTED,
    ...TURNS,
  ],
  fenced: [
    ["refuses", { fence: version(3).epoch }, round, [FENCED]],
    ["goes on asking", { fence: version(3).epoch, askedForMs: 2_000 }, round, [FENCED, "ask"]],
    [
      "the epoch that fenced it",
      { fence: version(3, GCP).epoch },
      answered(answers(gcp("primary", 3))),
      ["fence begun"],
    ],
    [
      "a still later epoch raises the fence",
      { fence: version(3).epoch },
      answered(answers(gcp("primary", 4))),
      [...ended("4@1"), "fence begun"],
    ],
    [
      "the epoch that fenced it has begun nowhere: its promotion broke off",
      { fence: version(3, GCP).epoch },
      answered(answers(gcp("fenced", 2))),
      ["fence abandoned"],
    ],
    [
      "the region that may have begun it does not answer",
      { fence: version(3, GCP).epoch },
      answered(nobody, ["gcp"]),
      ["fence begun"],
    ],
    [
      "says by which commands an abandoned fence is left",
      { fence: version(3, GCP).epoch, isFenceAbandoned: true },
      round,
      [
        "say: fenced for epoch 3 of gcp, which no region has begun: run 'mirrorfs promote --region gcp --force' again, or continue here by 'mirrorfs promote --region aws --force'",
      ],
    ],
    ...HINTED,
    ...UNSEALED,
    ...NO_REPORT,
    ...TURNS,
  ],
  mirror: [
    ["follows", { version: version(2, GCP) }, round, ["say: "]],
    ["looks for one that was declared gone", { excused: ["azure"], askedForMs: 2_000 }, round, ["say: ", "ask"]],
    ["one that was declared gone answers", { excused: ["gcp"] }, answered(answers(gcp("mirror", 1))), ["countAgain"]],
    [
      "the seal is the last that the primary has committed",
      { ...TARGET, sourceCommitted: version(2, GCP) },
      round,
      ["say: ", TAKEN_OVER],
    ],
    [
      "the seal is history: the primary has committed more",
      { ...TARGET, sourceCommitted: { ...version(2, GCP), sequence: 8 as Sequence } },
      round,
      ["say: "],
    ],
    ["there is no primary to follow: it asks all regions", TARGET, round, ["ask"]],
    [
      "it has declined this seal",
      { ...TARGET, isSealDeclined: true, sourceCommitted: version(2, GCP) },
      round,
      ["say: "],
    ],
    ["the epoch is sealed to another mirror", { sealedTo: GCP }, round, ["say: "]],
    ["the volume does not know its region", { regionIndex: undefined }, round, ["say: "]],
    ["all have answered", TARGET, answered(answers(gcp("sealed", 1)), [], ASKED_OF_GCP), ["say: ", TAKEN_OVER]],
    [
      "all have answered, and one has a later epoch",
      TARGET,
      answered(answers(gcp("primary", 18)), [], ASKED_OF_GCP),
      ["say: "],
    ],
    [
      "one does not answer",
      TARGET,
      answered(nobody, ["gcp"], ASKED_OF_GCP),
      [
        "say: the epoch is sealed to aws, which takes over once every region has answered: waiting for gcp (5 s so far); start the metadata servers there (mirrorfs meta), or, if it is gone for good, run 'mirrorfs region lost gcp'",
      ],
    ],
    [
      "one does not answer in time",
      { ...TARGET, waitedMs: 10_000 },
      answered(nobody, ["gcp"], ASKED_OF_GCP),
      ["say: ", ALONE, TAKEN_OVER],
    ],
    [
      "all have answered, but it follows the primary again",
      { ...TARGET, sourceCommitted: version(2, GCP) },
      answered(nobody, [], ASKED_OF_GCP),
      [],
    ],
    ["all have answered, but were asked in another epoch", TARGET, answered(nobody), []],
    ["answers to what it asked when it was the primary", {}, answered(answers(gcp("primary", 3))), []],
    ["a turn seals the epoch to it", { sealedTo: AWS }, applied, ["runRoundNow"]],
    ["a later epoch is spoken of: its follower looks for it", { askedForMs: 60_000 }, hinted, []],
    ...UNSEALED,
    ...NO_REPORT,
    ...TURNS,
  ],
  diverged: [
    [
      "begins nothing, although the epoch is sealed to it (defect 16)",
      { ...TARGET, sourceCommitted: version(2, GCP) },
      round,
      ["say: "],
    ],
    ["answers to what it asked", TARGET, answered(nobody, [], ASKED_OF_GCP), []],
    ["a later epoch is spoken of", { askedForMs: 60_000 }, hinted, []],
    ...UNSEALED,
    ...NO_REPORT,
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

test("a primary that is not cleared is waiting, and every other state is its own", () => {
  expect(stateOf("primary", false)).toBe("waiting");
  for (const state of ["primary", "mirror", "sealed", "fenced", "unformatted", "diverged"] as const) {
    expect(stateOf(state, true)).toBe(state);
    expect(state === "primary" || stateOf(state, false) === state, state).toBe(true);
  }
});

test("a region waits for others while it can do nothing else", () => {
  const waiting = (state: State, at: Partial<Situation>) => waits(state, { ...CALM, ...at });
  expect([waiting("unformatted", {}), waiting("waiting", {}), waiting("sealed", UNCLEARED)]).toEqual([
    true,
    true,
    true,
  ]);
  expect([waiting("mirror", TARGET), waiting("mirror", { sealedTo: GCP })]).toEqual([true, false]);
  expect([waiting("primary", {}), waiting("sealed", SEALED), waiting("fenced", UNCLEARED)]).toEqual([
    false,
    false,
    false,
  ]);
});
