import type { Fault } from "./fault.ts";

const RULES = "meta-server/roles/epochs/rules.ts";
const KEEPER = "meta-server/roles/epochs/epoch-keeper.ts";
const RULES_TEST = "test/meta-server/roles/rules.test.ts";
const EPOCHS_TEST = "test/meta-server/roles/epochs.test.ts";
const CLEARANCE_TEST = "test/meta-server/roles/clearance.test.ts";
const IS_CLEARED = "return facts.isCleared(epoch, this.#context.lives.own);";

/** Rules of asking and of the leave to act in an epoch: their breach needs a later epoch elsewhere at the right moment. */
export const CLEARANCE: readonly Fault[] = [
  {
    name: "never-fence",
    about: "a region that hears of a later epoch commits no fence",
    replacements: [
      {
        file: KEEPER,
        text: `await this.#context.proposer.local({ kind: "fence", epoch });`,
        by: "if (epoch === 0) return;",
      },
    ],
    test: "test/semantics/mirroring.test.ts",
    title: "An old primary that hears of a later epoch",
  },
  {
    name: "fence-by-hint",
    about: "a region is fenced by the word of a client",
    replacements: [
      {
        file: RULES,
        text: `(at.askedForMs < HINT_EVERY_MS ? [] : [{ do: "ask" }])`,
        by: `[{ do: "fence", epoch: (at.version.epoch + 16) as EpochCode }]`,
      },
    ],
    test: EPOCHS_TEST,
    title: "A hint of a later epoch fences nobody",
  },
  {
    name: "clear-by-clock",
    about: "a primary takes a stamp later than its own start for a sign that a leader has asked",
    replacements: [
      {
        file: KEEPER,
        text: "  #leading = false;",
        by: "  #leading = false;\n  readonly #startedS = Date.now() / 1000;",
      },
      { file: KEEPER, text: IS_CLEARED, by: "return this.#context.machine.lastTime.seconds > this.#startedS;" },
    ],
    test: CLEARANCE_TEST,
    title: "a clock that ran ahead",
  },
  {
    name: "clear-by-term",
    about: "a primary takes a term later than that of its own start for a sign that a leader has asked",
    replacements: [
      {
        file: KEEPER,
        text: "    this.#schedule(0);\n  }\n\n  /**\n   * Whether",
        by: "    this.#startTerm = context.group.status().term;\n    this.#schedule(0);\n  }\n  #startTerm = 0;\n\n  /**\n   * Whether",
      },
      { file: KEEPER, text: IS_CLEARED, by: "return this.#context.group.status().term > this.#startTerm;" },
    ],
    test: CLEARANCE_TEST,
    title: "asks again",
  },
  {
    name: "stale-member-counts",
    about: "a leader answers for its region although its group does not confirm it",
    replacements: [
      {
        file: "meta-server/services/admin/confirm.ts",
        text: "await new Promise<boolean>((resolve) => group.readIndex(resolve));",
        by: "group.leading;",
      },
    ],
    test: "test/meta-server/services/confirm.test.ts",
    title: "A region counts as asked only",
  },
  {
    name: "falls-through-after-fence",
    about: "a primary whose fence was not committed goes on to clear itself",
    replacements: [{ file: RULES, text: "  if (isOver(at)) return endedStep(at);\n  const back", by: "  const back" }],
    test: RULES_TEST,
    title: "the fence for a later epoch",
  },
  {
    name: "resumes-uncleared",
    about: "a sealer that has not asked the other regions takes its epoch back",
    replacements: [{ file: RULES, text: "  if (!at.isCleared) return [];\n  const text", by: "  const text" }],
    test: RULES_TEST,
    title: "the target has declined, but",
  },
  {
    name: "begins-uncleared",
    about: "the target of a seal begins the next epoch although it follows no primary and has asked nobody",
    replacements: [
      {
        file: RULES,
        text: `if (at.sourceCommitted === undefined) return [{ do: "ask" }];`,
        by: `if (at.sourceCommitted === undefined) return [say(""), takeOver(at)];`,
      },
    ],
    test: RULES_TEST,
    title: "there is no primary to follow",
  },
  {
    name: "begins-on-an-inner-seal",
    about: "the target of a seal begins the next epoch although the primary has committed more since",
    replacements: [
      {
        file: RULES,
        text: "compareVersions(at.sourceCommitted, at.version) === 0",
        by: "compareVersions(at.sourceCommitted, at.version) >= 0",
      },
    ],
    test: RULES_TEST,
    title: "the seal is history",
  },
  {
    name: "feeds-uncleared",
    about: "a primary that has not asked the other regions gives out its log to mirrors",
    replacements: [
      {
        file: "meta-server/services/changelog/follow-stream.ts",
        text: "if (!this.#options.mayFeed()) return refuse(",
        by: "if (false) return refuse(",
      },
    ],
    test: CLEARANCE_TEST,
    title: "A group that has restarted as a whole",
  },
  {
    name: "old-answers-after-an-excuse",
    about: "an excuse counts for a round of questions that began before it",
    replacements: [
      {
        file: RULES,
        text: "  const missing = awaited(event);\n  const later",
        by: "  const missing = awaited({ ...event, asked: { ...event.asked, excused: at.excused } });\n  const later",
      },
      {
        file: RULES,
        text: "if (!isComplete(event) && !hasWaitedAlone(at)) {",
        by: "if (missing.size > 0 && !hasWaitedAlone(at)) {",
      },
    ],
    test: RULES_TEST,
    title: "an excuse that came after",
  },
  {
    name: "formats-after-a-wait",
    about: "an unformatted region formats the volume when it has waited for long enough",
    replacements: [
      {
        file: RULES,
        text: `if (missing.size === 0) return [{ do: "format" }];`,
        by: `if (missing.size === 0 || hasWaitedAlone(at)) return [{ do: "format" }];`,
      },
    ],
    test: CLEARANCE_TEST,
    title: "A volume is created once every region",
  },
  {
    name: "follows-its-fence-only",
    about: "a fenced region follows the epoch that it was fenced for, and no other, and never raises its fence",
    replacements: [
      {
        file: RULES,
        text: "return later > at.fence ? [...ended(at, later), note] : [note];",
        by: "return [note];",
      },
      {
        file: "meta-server/roles/follower/follower.ts",
        text: `if (status.role === "unformatted") continue;`,
        by: `const { fence } = this.#context.machine.facts;
      if (status.role === "unformatted" || (fence > own && status.version?.epoch !== fence)) continue;`,
      },
    ],
    test: EPOCHS_TEST,
    title: "A fenced region follows",
  },
];
