import type { Fault } from "./fault.ts";

/** "Ids and feature levels seen to fail" in docs/TRACK_RECORD.md. */
export const LEVELS: readonly Fault[] = [
  {
    name: "ids-of-two-epochs-meet",
    about: "an epoch has more ids than there are between its code and the next one",
    replacements: [
      {
        file: "core/ids.ts",
        text: "return epoch * COUNTER_LIMIT + counter;",
        by: "return epoch * (COUNTER_LIMIT / 2) + counter;",
      },
    ],
    test: "test/core/ids.test.ts",
    title: "ids of two epochs never meet",
  },
  {
    name: "unknown-level-applied",
    about: "a server applies a feature level that it does not know",
    replacements: [
      { file: "meta-server/machine/machine.ts", text: "this.#requireSupport(levelIn(entry.command) ?? 0);", by: "" },
    ],
    test: "test/meta-server/machine/features.test.ts",
    title: "a server stops in the midst of its work",
  },
  {
    name: "features-early",
    about: "the level is raised although a server says that it does not know the next one",
    replacements: [
      {
        file: "meta-server/services/admin/upgrade.ts",
        text: "return status.supports < level ?",
        by: "return level < 0 ?",
      },
    ],
    test: "test/meta-server/features.test.ts",
    title: "the level is raised by one",
  },
];
