import type { Replacement } from "./environment/hooks.ts";
import type { ProfileName } from "./profile.ts";

/** One seeded defect: what a wrong implementation would do there. Only the simulator's process ever has it. */
export interface Mutant {
  readonly name: string;
  readonly about: string;
  readonly replacements: readonly Replacement[];
  /** The kind of bad luck in which it shows. */
  readonly profile: ProfileName;
  /** Where to begin: it was caught there once. */
  readonly from?: number;
}

const ELECTION = "consensus/raft/election.ts";
const SEQUENCER = "core/sequencer.ts";
const AGENT_SERVICE = "meta-server/services/agent/service.ts";
const NO_GAP_CHECK: Replacement = {
  file: SEQUENCER,
  text: `return previous.sequence > at.sequence ? "gap" : "duplicate";`,
  by: `return previous.sequence > at.sequence ? undefined : "duplicate";`,
};
/** A followed entry is judged by its sequence alone, whatever epoch it is of. */
const NO_EPOCH_CHECK: readonly Replacement[] = [
  {
    file: SEQUENCER,
    text: `if (previous.epoch !== at.epoch) return previous.epoch > at.epoch ? "gap" : "fork";`,
    by: "",
  },
  {
    file: SEQUENCER,
    text: `if (stamp.epoch !== at.version.epoch) return "wrongEpoch";`,
    by: `if (stamp.epoch !== at.version.epoch && entryType !== "followed") return "wrongEpoch";`,
  },
  {
    file: SEQUENCER,
    text: "function refusalOf(at: Position, { command, stamp }: Entry)",
    by: "function refusalOf(at: Position, { command, stamp, type: entryType }: Entry)",
  },
];

export const MUTANTS: readonly Mutant[] = [
  {
    name: "vote-twice",
    about: "votes for everybody who asks in a term",
    profile: "transfers",
    from: 2,
    replacements: [
      { file: ELECTION, text: "state.vote === from || (state.vote === 0 && state.leader === 0);", by: "true;" },
    ],
  },
  {
    name: "vote-before-durable",
    about: "gives its vote away, and counts its own, before it is on the disk",
    profile: "votes",
    from: 2,
    replacements: [
      { file: ELECTION, text: `state.promise({ type: "voteResponse"`, by: `state.send({ type: "voteResponse"` },
      {
        file: ELECTION,
        text: `for (const to of state.others) state.promise({ type: "vote",`,
        by: `recordVote(state, from, true);
  for (const to of state.others) state.send({ type: "vote",`,
      },
    ],
  },
  {
    name: "vote-never-saved",
    about: "has forgotten after a restart whom it voted for",
    profile: "transfers",
    from: 9,
    replacements: [
      { file: "consensus/raft/state.ts", text: "this.vote = hardState.vote;", by: "this.vote = 0 * hardState.vote;" },
    ],
  },
  {
    name: "commit-older-term",
    about: "counts replicas of an entry of an older term (dissertation, figure 3.7)",
    profile: "storm",
    from: 12,
    replacements: [
      {
        file: "consensus/raft/replication.ts",
        text: "if (reached <= log.commit || log.term(reached) !== state.term) return;",
        by: "if (reached <= log.commit) return;",
      },
    ],
  },
  {
    name: "acknowledge-before-sync",
    about: "takes the log's write for durable when the system has it",
    profile: "disks",
    replacements: [
      {
        file: "meta-server/storage/level-log.ts",
        text: "this.#inFlight = this.#level.batch(operations, { sync: true })",
        by: "this.#inFlight = this.#level.batch(operations, { sync: false })",
      },
    ],
  },
  {
    name: "vote-for-a-shorter-log",
    about: "votes without asking whether the candidate's log is as up-to-date as its own",
    profile: "storm",
    replacements: [
      {
        file: ELECTION,
        text: "const granted = free && state.log.isUpToDate(last)",
        by: "const granted = free",
      },
      {
        file: ELECTION,
        text: "const granted = term > state.term && state.log.isUpToDate(last)",
        by: "const granted = term > state.term",
      },
    ],
  },
  {
    name: "apply-twice",
    about: "carries a retried request out again instead of answering what it came to",
    profile: "deposed",
    replacements: [{ file: "core/apply.ts", text: "if (kept !== undefined) return", by: "if (kept === null) return" }],
  },
  {
    name: "read-without-asking",
    about: "a leader answers reads without having been confirmed by a quorum",
    profile: "deposed",
    from: 17,
    replacements: [
      {
        file: "consensus/raft/read-index.ts",
        text: "} else if (isReadable(state)) {",
        by: "} else if (state.role) {",
      },
    ],
  },
  {
    name: "snapshot-without-sessions",
    about: "leaves the session table out of a snapshot for a member",
    profile: "mirror",
    replacements: [
      {
        file: "meta-server/machine/snapshot.ts",
        text: "yield encodePairs(pairs);",
        by: `yield encodePairs(pairs.filter(([key]) => key[2] !== "N"));`,
      },
    ],
  },
  {
    name: "accept-a-gap",
    about: "a mirror applies an entry although those before it are missing (its stream loses one now and then)",
    profile: "mirror",
    replacements: [
      NO_GAP_CHECK,
      {
        file: "meta-server/services/changelog/follow-stream.ts",
        text: "entries: taken.map(",
        by: "entries: taken.filter(() => Math.random() > 0.05).map(",
      },
    ],
  },
  {
    name: "accept-an-old-epoch",
    about: "a mirror goes on applying what the old primary sends after a later epoch has begun",
    profile: "promotions",
    from: 6,
    replacements: [
      ...NO_EPOCH_CHECK,
      { file: "meta-server/roles/follower/follower.ts", text: `this.#session?.close("suspended");`, by: "" },
    ],
  },
  {
    name: "follow-past-a-fork",
    about: "follows from a version that the primary's history does not hold",
    profile: "promotions",
    replacements: [
      ...NO_EPOCH_CHECK,
      {
        file: "meta-server/services/changelog/log-reader.ts",
        text: `if (!isOnChangelog(server.machine.tree, from)) return "forked";`,
        by: "",
      },
    ],
  },
  {
    name: "switchover-without-seal",
    about: "goes on taking changes after the seal",
    profile: "switchovers",
    replacements: [
      {
        file: SEQUENCER,
        text: `return at.sealedTo === undefined ? undefined : "sealed";`,
        by: "return undefined;",
      },
      {
        file: "meta-server/machine/machine.ts",
        text: `return volume.sealedTo === undefined ? "primary" : "sealed";`,
        by: `return "primary";`,
      },
    ],
  },
  {
    name: "id-before-its-grant",
    about: "takes a slice id that no applied grant has given to the session",
    profile: "weather",
    replacements: [
      {
        file: "core/grants.ts",
        text: "return session?.granted.some((range) => contains(range, id)) === true;",
        by: "return session !== undefined;",
      },
    ],
  },
  {
    name: "garbage-before-revocation",
    about: "lets a slice's blocks be collected while a session may still name its id",
    profile: "weather",
    replacements: [
      {
        file: "core/grants.ts",
        text: "tree.putSession(stamp.session, { ...session, granted: ranges });\n}\n\nfunction without",
        by: "}\n\nfunction without",
      },
    ],
  },
  {
    name: "garbage-before-mirrors",
    about: "lets a slice's blocks be collected before every region has applied that nothing names it",
    profile: "mirror",
    replacements: [
      {
        file: AGENT_SERVICE,
        text: "return sequence > applied || sinceMs > oldestMs ? undefined",
        by: "return sinceMs > oldestMs + 0 * applied * sequence ? undefined",
      },
    ],
  },
  {
    name: "state-not-synced",
    about: "cuts the log behind a state that is not on the disk yet",
    profile: "disks",
    replacements: [
      {
        file: "meta-server/storage/state-store.ts",
        text: "await batch.write({ sync: true });",
        by: "await batch.write({ sync: false });",
      },
    ],
  },
];
