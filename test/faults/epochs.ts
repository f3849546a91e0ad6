import type { Fault } from "./fault.ts";

const SEQUENCER = "core/sequencer.ts";
const MACHINE = "meta-server/machine/machine.ts";
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
