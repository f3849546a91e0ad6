import type { Fault } from "./fault.ts";

const SEQUENCER = "core/sequencer.ts";
const MACHINE = "meta-server/machine/machine.ts";
const PROMOTION_RULES = "meta-server/roles/epochs/promotion-rules.ts";
const PROMOTION_RULES_TEST = "test/meta-server/roles/promotion-rules.test.ts";
const ENTRIES = "test/core/entries.test.ts";
const LOG_READER_TEST = "test/meta-server/services/log-reader.test.ts";

/** Rules of epochs whose breach no run of the simulation shows, or not soon. */
export const EPOCHS: readonly Fault[] = [
  {
    name: "fenced-for-ever",
    about: "a fenced region refuses its own promotion",
    replacements: [{ file: MACHINE, text: ` && !(begins?.how === "forced" && begins.epoch > fence)`, by: "" }],
    test: LOG_READER_TEST,
    title: "can be promoted, above the epoch that it was fenced for",
  },
  {
    name: "forced-next-number",
    about: "an epoch that begins by force may have the next number, which the target of a seal may have begun",
    replacements: [{ file: SEQUENCER, text: "isForcedNumber(number) && ahead >= 2", by: "ahead >= 1" }],
    test: ENTRIES,
    title: "a promotion to a number that the target of a seal may have",
  },
  {
    name: "number-without-the-fence",
    about: "a promotion's number does not count the epoch that the region was fenced for",
    replacements: [{ file: PROMOTION_RULES, text: "    fence,\n    heard.epoch,", by: "    heard.epoch," }],
    test: PROMOTION_RULES_TEST,
    title: "the epoch that it was fenced for",
  },
  {
    name: "promotes-beside-a-seal",
    about: "a region is promoted while another one stands on a seal to itself, and begins the next epoch",
    replacements: [
      { file: PROMOTION_RULES, text: `return mayBegin ? "takesOver" : undefined;`, by: "return undefined;" },
    ],
    test: PROMOTION_RULES_TEST,
    title: "another region stands on a seal to itself",
  },
  {
    name: "leaves-a-waiting-primary",
    about: "a primary that waits for clearance is not ended, and serves once it is cleared",
    replacements: [{ file: PROMOTION_RULES, text: `if (state === "waiting") return "waits";`, by: "" }],
    test: PROMOTION_RULES_TEST,
    title: "the primary waits for clearance: it has acknowledged nothing, and is ended",
  },
  {
    name: "promotes-before-the-end",
    about: "a region is promoted although the living primary has not committed that its epoch has ended",
    replacements: [
      {
        file: "meta-server/roles/epochs/promotion.ts",
        text: "for (const region of regionsToEnd(candidate)) {",
        by: "for (const region of regionsToEnd(candidate).slice(1)) {",
      },
    ],
    test: "test/meta-server/roles/epochs.test.ts",
    title: "a primary that is alive has ended its epoch before a promotion",
  },
  {
    name: "resume-with-another-refusal",
    about: "a seal is taken back with the refusal of an earlier one",
    replacements: [
      {
        file: SEQUENCER,
        text: `return compareVersions(command.declined, version) === 0 ? undefined : "notDeclined";`,
        by: "return undefined;",
      },
    ],
    test: ENTRIES,
    title: "the sealer continues with the refusal of another seal (defect 18)",
  },
  {
    name: "diverged-begins",
    about: "a region whose state differs from the primary's begins an epoch",
    replacements: [{ file: MACHINE, text: `(type === "followed" || begins !== undefined)`, by: `type === "followed"` }],
    test: LOG_READER_TEST,
    title: "begins no epoch, neither from a seal nor by force (defect 16)",
  },
  {
    name: "refused-entries-forgotten",
    about: "which entries were refused is kept in memory alone",
    replacements: [
      {
        file: "meta-server/machine/refused-entries.ts",
        text: "put(refusedEntryKey(index), encodeRecord(index));",
        by: "if (index < 0) put(refusedEntryKey(index), encodeRecord(index));",
      },
    ],
    test: LOG_READER_TEST,
    title: "after a restart",
  },
  {
    name: "later-parting",
    about: "of the two versions at which histories part, the later one is taken for the fork",
    replacements: [{ file: "core/chain.ts", text: "Math.min(sequence, end)", by: "Math.max(sequence, end)" }],
    test: "test/core/chain.test.ts",
    title: "the earlier of the two partings",
  },
];
