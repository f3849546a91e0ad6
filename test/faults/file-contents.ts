import type { Fault } from "./fault.ts";

const FILE_READER = "client/volume/filesystem/file-reader.ts";
const FILE_WRITER_TEST = "test/client/volume/filesystem/file-writer.test.ts";

/** Faults by which an application reads wrong bytes, none, or is not told that a write was lost. */
export const FILE_CONTENTS: readonly Fault[] = [
  {
    name: "stale-map-not-read-again",
    about:
      "a reader answers EIO when a block of its cached chunk map is in no bucket, instead of reading the map again",
    replacements: [
      { file: FILE_READER, text: `bytes === "ESTALE" && missing++ === 0`, by: `bytes === "ESTALE" && missing > 0` },
    ],
    test: "test/scenarios/readers.test.ts",
    title: "14: a block that is deleted while a client's cached chunk still names it costs a retry, not an EIO",
  },
  {
    name: "open-without-chunks",
    about: "an open answers the file's new size without the chunks that fill it",
    replacements: [
      {
        file: "meta-server/services/metadata/answer-read.ts",
        text: "return withChunks(machine, answer, { inode, first: 0, count: chunks });",
        by: "return answer;",
      },
    ],
    test: "test/scenarios/readers.test.ts",
    title: "15: a reader of the end of a file that grows in another region sees the written bytes, never zeros",
  },
  {
    name: "first-bucket-only",
    about: "the reader of blocks gives up at the first bucket that does not answer",
    replacements: [
      {
        file: "client/volume/blocks/block-reader.ts",
        text: `if (tried === "failed") unanswered += 1;`,
        by: `if (tried === "failed") return { missingInOwn, corruptIn: [...corruptIn], from: undefined, failure: "unreachable" };`,
      },
    ],
    test: "test/client/volume/blocks/block-reader.test.ts",
    title: "EIO does not stay after the bucket is back",
  },
  {
    name: "missing-bytes-as-zeros",
    about: "a reader fills the place of a block that no bucket gives with zeros",
    replacements: [
      {
        file: FILE_READER,
        text: `if (typeof data === "string") return data === "missing" ? "ESTALE" : "EIO";`,
        by: `if (typeof data === "string") {
        pushZeros(bytes, part.to - part.from);
        at = part.offset + part.to - part.from;
        continue;
      }`,
      },
    ],
    test: "test/semantics/failures.test.ts",
    title: "Bytes that no bucket can give are EIO, never zeros, and are read again once a bucket has them",
  },
  {
    name: "failed-upload-committed",
    about: "the writer commits a slice although the upload of a block failed",
    replacements: [
      {
        file: "client/volume/filesystem/slice-upload.ts",
        text: "const failed = answers.find((answer) => answer?.crc32c === undefined);",
        by: "const failed = answers.find((answer) => answer === undefined);",
      },
    ],
    test: FILE_WRITER_TEST,
    title: "a bucket that stays away fails the commit in bounded time, and no command is sent",
  },
  {
    name: "failed-commit-not-counted",
    about: "the writer does not count a commit that failed, so that no fsync or close reports it",
    replacements: [{ file: "client/volume/filesystem/file-writer.ts", text: "this.#errors += 1;", by: "" }],
    test: FILE_WRITER_TEST,
    title: "a commit that fails is counted, and its bytes are dropped",
  },
  {
    name: "failure-reported-to-one",
    about:
      "a failed commit is reported only to the descriptor that waited for it, not to the others that were open then",
    replacements: [
      {
        file: "client/volume/filesystem/durability.ts",
        text: "if (!writer?.dirty) return unreported(handle);",
        by: "if (!writer?.dirty) return true;",
      },
    ],
    test: "test/semantics/failures.test.ts",
    title:
      "What could not be stored is reported once, by the next fsync or close of each descriptor that was open then",
  },
];
