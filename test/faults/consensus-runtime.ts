import type { Fault } from "./fault.ts";

/** Around the core: disk, snapshots, and the connections between members. */
export const CONSENSUS_RUNTIME: readonly Fault[] = [
  {
    name: "members-not-written",
    about: "a configuration in an appended entry is not written beside the log",
    replacements: [
      {
        file: "meta-server/storage/level-log.ts",
        text: "if (this.#configurations.appended(entries)) operations.push(this.#putConfigurations());",
        by: "this.#configurations.appended(entries);",
      },
    ],
    test: "test/meta-server/storage/level-log.test.ts",
  },
  {
    name: "members-forgotten-at-a-cut",
    about: "a cut of the log forgets the configuration in effect at its new base",
    replacements: [
      {
        file: "consensus/configurations.ts",
        text: "(all[i + 1]?.index ?? through + 1) > through",
        by: "(all[i]?.index ?? through + 1) > through",
      },
    ],
    test: "test/meta-server/storage/level-log.test.ts",
  },
  {
    name: "two-writes-at-once",
    about: "a cut and an append are written at once, in either order",
    replacements: [
      {
        file: "meta-server/storage/level-log.ts",
        text: "(this.#lastWrite === undefined ? write() : this.#lastWrite.then(write))",
        by: "write()",
      },
    ],
    test: "test/meta-server/storage/level-log.test.ts",
    title: "a cut under way never puts an older list",
  },
  {
    name: "members-from-the-volume-file",
    about: "a restarted member takes its configuration from the volume file",
    replacements: [
      {
        file: "consensus/runtime/recover.ts",
        text: "if (configurations.length === 0) {",
        by: "if (configurations.length > 0) configurations = [first];\n  else {",
      },
    ],
    test: "test/consensus/membership.test.ts",
    title: "after a restart with a cut log",
  },
  {
    name: "snapshot-without-members",
    about: "a snapshot's header does not hold the configuration",
    replacements: [
      {
        file: "consensus/transport/snapshot-stream.ts",
        text: "const encoded = encodeConfiguration(configuration) as Buffer;",
        by: "const encoded = encodeConfiguration({ index: 0, members: [], nextId: 0 }) as Buffer;",
      },
    ],
    test: "test/consensus/membership.test.ts",
    title: "a server is added by a snapshot and promoted",
  },
  {
    name: "removed-leader-is-cut-off",
    about: "a member drops its connection to a leader that removes itself as soon as it has that entry",
    replacements: [
      {
        file: "consensus/transport/grpc-transport.ts",
        text: "if (this.#claims.has(id) && !peers.some((peer) => peer.id === id)) this.#guests.set(id, link);\n      else link.stop();",
        by: "link.stop();",
      },
    ],
    test: "test/consensus/membership.test.ts",
    title: "a server is added by a snapshot and promoted",
  },
  {
    name: "transfer-not-recognized",
    about: "the receiver of a snapshot does not recognize a resumed transfer",
    replacements: [
      {
        file: "consensus/runtime/incoming-snapshots.ts",
        text: "return from === this.from && transfer === this.header.transfer && this.#failure === undefined;",
        by: "return from !== this.from && transfer === this.header.transfer && this.#failure === undefined;",
      },
    ],
    test: "test/consensus/snapshots.test.ts",
    title: "a broken transfer resumes at the part where it broke",
  },
  {
    name: "invalid-snapshot-stops-the-server",
    about: "an invalid snapshot counts as a failure of the receiver's disk",
    replacements: [
      {
        file: "consensus/runtime/install-snapshot.ts",
        text: "if (partsError === undefined && error instanceof RangeError) partsError = error;",
        by: "",
      },
    ],
    test: "test/consensus/snapshots.test.ts",
    title: "an invalid snapshot is refused and counted",
  },
  {
    name: "load-drops-a-key",
    about: "a member installs a snapshot whatever its keys are",
    replacements: [{ file: "meta-server/machine/snapshot.ts", text: "check.finish();", by: "" }],
    test: "test/meta-server/machine/restore.test.ts",
    title: "a member's snapshot is refused",
  },
  {
    name: "load-lacks-a-lost-key",
    about: "a member installs a snapshot of a state that has lost a key on its sender's disk",
    replacements: [
      {
        file: "meta-server/machine/snapshot.ts",
        text: "if (!isWholeVolume(",
        by: "if (live === undefined && !isWholeVolume(",
      },
    ],
    test: "test/meta-server/machine/restore.test.ts",
    title: "one was lost on the sender's disk",
  },
  {
    name: "refused-snapshot-sent-again",
    about: "a snapshot that its receiver refused is kept, and sent again",
    replacements: [
      {
        file: "consensus/runtime/outgoing-snapshots.ts",
        text: "if (error instanceof SnapshotRefused || error instanceof RangeError)",
        by: "if (!(error instanceof SnapshotRefused) && error instanceof RangeError)",
      },
    ],
    test: "test/consensus/snapshots.test.ts",
    title: "an invalid snapshot is refused and counted",
  },
  {
    name: "failed-append-passed-over",
    about: "a failed write to the log counts as a finished one",
    replacements: [
      {
        file: "consensus/runtime/saver.ts",
        text: "this.#events.failed(error);",
        by: "this.#events.saved(save, promises);",
      },
    ],
    test: "test/consensus/disk-errors.test.ts",
    title: "a failed write to the log stops the server",
  },
  {
    name: "failed-changelog-read-passed-over",
    about: "a failed read of the log for the changelog fails only that read",
    replacements: [
      { file: "consensus/raft-group.ts", text: "if (error instanceof StorageError) lifecycle.fail(error);\n", by: "" },
    ],
    test: "test/consensus/disk-errors.test.ts",
    title: "a failed read of the log for the changelog",
  },
  {
    name: "failed-state-read-passed-over",
    about: "a failed read of the state is not reported to the server",
    replacements: [
      {
        file: "meta-server/storage/state-store.ts",
        text: "if (level === this.#level) this.#onFailed(failure);",
        by: "",
      },
    ],
    test: "test/meta-server/storage/state-store.test.ts",
    title: "a read that fails is reported to the opener",
  },
  {
    name: "second-leader-accepted",
    about: "an append or heartbeat from a second leader of a term is handled like the first one's",
    replacements: [
      {
        file: "consensus/raft/raft.ts",
        text: `if (message.term === term && (role === "leader" || (leader !== 0 && leader !== message.from))) return true;`,
        by: "",
      },
    ],
    test: "test/consensus/transport/strangers.test.ts",
    title: "a second leader of this term",
  },
  {
    name: "second-server-of-an-id-accepted",
    about: "a second process is accepted under the id of a connected member",
    replacements: [
      {
        file: "consensus/transport/grpc-transport.ts",
        text: "if (!isClaimed) return mismatchOf(this.#identity, hello);",
        by: "if (other === undefined || !isClaimed || isClaimed) return mismatchOf(this.#identity, hello);",
      },
    ],
    test: "test/consensus/transport/strangers.test.ts",
    title: "another process with the id of a connected member",
  },
  {
    name: "any-term-accepted",
    about: "a message of a term that no series of elections leads to is handled",
    replacements: [
      {
        file: "consensus/runtime/ready-loop.ts",
        text: "if (message.term <= termMax) this.#messages.push(message);",
        by: "if (termMax > 0) this.#messages.push(message);",
      },
    ],
    test: "test/consensus/transport/strangers.test.ts",
    title: "an implausible term",
  },
];
