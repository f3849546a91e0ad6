import type { Fault } from "./fault.ts";

const NAMES = "test/scenarios/names.test.ts";
const LOG_READER = "meta-server/services/changelog/log-reader.ts";
const CHUNK_MAP = "client/volume/filesystem/chunk-map.ts";
const RESYNC = "test/scenarios/resync.test.ts";
const LEADER_IS_DURABLE =
  "Nothing is acknowledged before it is on the disks of a majority of the primary's metadata servers";

/** Scenarios 5, 7 to 11, 13 and 19 to 21 of docs/TRACK_RECORD.md. */
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
  {
    name: "rename-loses-a-descendant",
    about: "the rename of a directory takes one entry out of it",
    replacements: [
      {
        file: "core/rename.ts",
        text: "  tree.putEntry(from.parent, from.name, undefined);",
        by: `  tree.putEntry(from.parent, from.name, undefined);
  if (source.kind === "directory") tree.putEntry(source.inode, "0" as typeof to.name, undefined);`,
      },
    ],
    test: NAMES,
    title: "7: a renamed directory keeps its unmodified descendants",
  },
  {
    name: "changelog-without-rmdir",
    about: "the changelog's reader leaves out rmdir",
    replacements: [
      {
        file: LOG_READER,
        text: "const { command, body } = decodeEntry(data);",
        by: `const { command, body } = decodeEntry(data);
    if (command.kind === "rmdir") return undefined;`,
      },
    ],
    test: NAMES,
    title: "8: both regions create, remove and mkdir one name concurrently",
  },
  {
    name: "rmdir-of-a-full-directory",
    about: "rmdir removes a directory that is not empty",
    replacements: [
      {
        file: "core/directories.ts",
        text: `if (directory.entries > 0) return fail("ENOTEMPTY");`,
        by: "",
      },
    ],
    test: "test/core/model.test.ts",
    title: "Any sequence of operations leaves what a plain file system would have left",
  },
  {
    name: "lookup-without-the-primary",
    about: "a lookup is answered from the mirror's state, without asking the primary what it has committed",
    replacements: [
      {
        file: "client/volume/filesystem/names.ts",
        text: `state.reads.lookup(parent, name, { freshness: "committed", interrupt: caller })`,
        by: `state.reads.lookup(parent, name, { freshness: "token", interrupt: caller })`,
      },
    ],
    test: NAMES,
    title: "9: a name that changes its type has the new type at once",
  },
  {
    name: "chunk-map-kept",
    about: "a client keeps the chunk map that it has, whatever has changed since",
    replacements: [
      {
        file: CHUNK_MAP,
        text: "return chunk !== undefined && chunk.at >= changed ? chunk.pieces : undefined;",
        by: "return changed >= 0 ? chunk?.pieces : undefined;",
      },
      {
        file: CHUNK_MAP,
        text: "kept.delete(index);\n      kept.set(",
        by: "if (!kept.has(index)) kept.set(",
      },
      { file: CHUNK_MAP, text: "    this.#chunks = undefined;", by: "" },
    ],
    test: NAMES,
    title: "10: new content with the same size and a restored mtime is replicated",
  },
  {
    name: "link-not-counted",
    about: "a new hard link is not counted, so the removal of one name removes the file",
    replacements: [{ file: "core/links.ts", text: "links: inode.links + 1,", by: "links: inode.links," }],
    test: "test/semantics/posix.test.ts",
    title: "Hard links share one inode number",
  },
  {
    name: "changelog-without-unlink",
    about: "the changelog's reader leaves out unlink",
    replacements: [
      {
        file: LOG_READER,
        text: "const { command, body } = decodeEntry(data);",
        by: `const { command, body } = decodeEntry(data);
    if (command.kind === "unlink") return undefined;`,
      },
    ],
    test: RESYNC,
    title: "deleted there, by the changelog",
  },
  {
    name: "bootstrap-reads-old-state",
    about: "a mirror continues to read its old state after a bootstrap",
    replacements: [
      {
        file: "meta-server/machine/machine.ts",
        text: "this.#view = new VolumeView(this.#store, entry.generation);",
        by: "",
      },
    ],
    test: RESYNC,
    title: "deleted there, by a snapshot",
  },
  {
    name: "command-after-the-seal",
    about: "a command is taken after the seal of its epoch",
    replacements: [
      {
        file: "core/sequencer.ts",
        text: `return at.sealedTo === undefined ? undefined : "sealed";`,
        by: "return undefined;",
      },
    ],
    test: "test/core/entries.test.ts",
    title: "a seal ends the epoch",
  },
  {
    name: "follower-loses-entries",
    about: "a mirror drops the last entry of each frame of several",
    replacements: [
      {
        file: "meta-server/roles/follower/follow-session.ts",
        text: "for (const entry of frame.entries) this.#propose(entry);",
        by: "for (const entry of frame.entries.length > 1 ? frame.entries.slice(0, -1) : frame.entries) this.#propose(entry);",
      },
    ],
    test: "test/client/volume/two-regions.test.ts",
    title: "A switchover loses nothing and fails no write: writers wait for it",
  },
  {
    name: "pointer-not-synced",
    about: "the directory is not synced after the rename of the file that names the current state",
    replacements: [
      {
        file: "meta-server/storage/durable-files.ts",
        text: "await rename(beside, join(directory, name));\n  await syncDirectory(directory);",
        by: "await rename(beside, join(directory, name));",
      },
    ],
    test: "test/crash/power.test.ts",
    title: "a follower loses power while a snapshot replaces its state",
  },
  {
    name: "leader-counts-itself-early",
    about: "a leader counts itself before its own write is durable",
    replacements: [
      {
        file: "consensus/raft/replication.ts",
        text: "id === state.self ? log.stable : matchOf(state, id)",
        by: "id === state.self ? log.lastIndex : matchOf(state, id)",
      },
    ],
    test: "test/consensus/raft/replication.test.ts",
    title: LEADER_IS_DURABLE,
  },
  {
    name: "ctime-from-the-clock",
    about: "the change time of a new inode comes from the clock of the server that applies the command",
    replacements: [
      {
        file: "core/directories.ts",
        text: "ctime: now,",
        by: "ctime: { seconds: now.seconds, nanoseconds: Number(process.hrtime.bigint() % 1_000_000_000n) },",
      },
    ],
    test: "test/core/entries.test.ts",
    title: "the hash does not depend on where turns end, nor on restarts",
  },
];
