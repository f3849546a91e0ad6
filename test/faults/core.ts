import type { Fault } from "./fault.ts";

export const CORE: readonly Fault[] = [
  {
    name: "entry-with-a-gap",
    about: "a followed entry is applied although entries before it are missing",
    replacements: [
      {
        file: "core/sequencer.ts",
        text: `return previous.sequence > at.sequence ? "gap" : "duplicate";`,
        by: `return previous.sequence > at.sequence ? undefined : "duplicate";`,
      },
    ],
    test: "test/core/entries.test.ts",
    title: "a gap is refused",
  },
];
