import type { Replacement } from "./environment/hooks.ts";
import type { ProfileName } from "./profile.ts";

/** A seeded defect, as a wrong implementation might have it. Only the simulator's processes ever run it. */
export interface Mutant {
  readonly name: string;
  readonly about: string;
  readonly replacements: readonly Replacement[];
  /** The profile in which it shows. */
  readonly profile: ProfileName;
  /** A seed that catches it, for the tests. */
  readonly from?: number;
  /** Why no seed catches it yet. One that a seed catches after all must lose this mark. */
  readonly escapes?: string;
}

const ELECTION = "consensus/raft/election.ts";
const SEQUENCER = "core/sequencer.ts";
const AGENT_SERVICE = "meta-server/services/agent/service.ts";
const NO_GAP_CHECK: Replacement = {
  file: SEQUENCER,
  text: `return previous.sequence > at.sequence ? "gap" : "duplicate";`,
  by: `return previous.sequence > at.sequence ? undefined : "duplicate";`,
};
/** A followed entry is checked by its sequence alone, without its epoch. */
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
    about: "grants its vote to every candidate of a term",
    profile: "transfers",
    from: 2,
    replacements: [
      { file: ELECTION, text: "state.vote === from || (state.vote === 0 && state.leader === 0);", by: "true;" },
    ],
  },
  {
    name: "vote-before-durable",
    about: "grants its vote, and counts its own, before it is durable",
    profile: "votes",
    from: 4,
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
    about: "forgets its vote at a restart",
    profile: "transfers",
    from: 1,
    replacements: [
      { file: "consensus/raft/state.ts", text: "this.vote = hardState.vote;", by: "this.vote = 0 * hardState.vote;" },
    ],
  },
  {
    name: "commit-older-term",
    about: "counts replicas of an entry of an older term (dissertation, figure 3.7)",
    profile: "storm",
    from: 2,
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
    about: "treats a write of the log as durable before it is synced",
    profile: "disks",
    replacements: [
      {
        file: "meta-server/storage/level-log.ts",
        text: "const write = () => this.#level.batch(operations, { sync: true });",
        by: "const write = () => this.#level.batch(operations, { sync: false });",
      },
    ],
  },
  {
    name: "vote-for-a-shorter-log",
    about: "grants its vote without checking that the candidate's log is up-to-date",
    profile: "storm",
    replacements: [
      {
        file: ELECTION,
        text: "const granted = canVote && state.log.isUpToDate(last)",
        by: "const granted = canVote",
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
    about: "executes a retried request again instead of returning its recorded outcome",
    profile: "deposed",
    replacements: [{ file: "core/apply.ts", text: "if (kept !== undefined) return", by: "if (kept === null) return" }],
  },
  {
    name: "read-without-asking",
    about: "a leader answers reads without confirmation by a quorum",
    profile: "deposed",
    from: 11,
    replacements: [
      {
        file: "consensus/raft/read-index.ts",
        text: "} else if (isReadable(state)) {",
        by: "} else if (state.role) {",
      },
    ],
  },
  {
    name: "snapshot-cuts-suffix",
    about:
      "a snapshot drops the entries after it that its receiver has acknowledged (leaders send needless ones now and then)",
    profile: "weather",
    replacements: [
      { file: "consensus/runtime/incoming-snapshots.ts", text: "this.#options.onCommitted(header.at);", by: "" },
      {
        file: "consensus/raft/replication.ts",
        text: "if (previousTerm === undefined) {\n    needSnapshot(",
        by: "if (previousTerm === undefined || (progress.match > 0 && Math.random() < 0.05)) {\n    needSnapshot(",
      },
    ],
  },
  {
    name: "snapshot-without-sessions",
    about: "omits the session table from a snapshot for a member, which does not check it",
    profile: "mirror",
    replacements: [
      {
        file: "meta-server/machine/snapshot.ts",
        text: "yield encodePairs(pairs);",
        by: `yield encodePairs(pairs.filter(([key]) => key[2] !== "N"));`,
      },
      { file: "meta-server/machine/snapshot.ts", text: "check.finish();", by: "" },
    ],
  },
  {
    name: "accept-a-gap",
    about: "a mirror applies an entry after a gap (its stream loses entries now and then)",
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
    about: "a mirror keeps applying the old primary's entries after a later epoch has begun",
    profile: "promotions",
    from: 86,
    replacements: [
      ...NO_EPOCH_CHECK,
      { file: "meta-server/roles/follower/follower.ts", text: `this.#session?.close("suspended");`, by: "" },
    ],
  },
  {
    name: "follow-past-a-fork",
    about: "follows from a version that is not in the primary's history",
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
    about: "keeps accepting changes after the seal",
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
    name: "resume-without-refusal",
    about: "takes a seal back although its target has not declined it",
    profile: "switchovers",
    replacements: [
      {
        file: "meta-server/roles/epochs/rules.ts",
        text: `[{ do: "askToDecline", to, seal, address: target.address }]`,
        by: `declined(at, { kind: "declined", to, seal })`,
      },
      {
        file: "meta-server/roles/epochs/rules.ts",
        text: "at.sealedForMs < at.sealPatienceMs",
        by: "at.sealedForMs < 50",
      },
    ],
  },
  {
    name: "counters-behind-a-seal",
    about: "lets a renewal of counters take a seal back (a sealed primary renews them again and again)",
    profile: "switchovers",
    replacements: [
      {
        file: SEQUENCER,
        text: `if (command.how !== "resumed") return sealedTo === undefined ? undefined : "sealed";`,
        by: `if (command.how !== "resumed") return undefined;`,
      },
      {
        file: "meta-server/roles/epochs/rules.ts",
        text: `{ do: "askTarget", to, seal: at.version },`,
        by: `{ do: "askTarget", to, seal: at.version },
    beginEpoch(at, at.version, { how: "counters" }, []),`,
      },
    ],
  },
  {
    name: "id-before-its-grant",
    about: "accepts a slice id that was not granted to the session",
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
    about: "lets a slice's blocks be deleted while a session may still name its id",
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
    about: "lets a slice's blocks be deleted before every region has applied that nothing names it",
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
    about: "truncates the log up to a state that is not durable yet",
    profile: "disks",
    replacements: [
      {
        file: "meta-server/storage/state-store.ts",
        text: "await batch.write({ sync: true });",
        by: "await batch.write({ sync: false });",
      },
    ],
  },
  {
    name: "emptied-member-votes",
    about: "a member that has lost its disk votes before it holds again what it had acknowledged",
    profile: "disks",
    replacements: [
      {
        file: ELECTION,
        text: "return !state.newcomer || (state.log.lastIndex === 0 && last.index === 0);",
        by: "return last.index >= 0 || state.newcomer;",
      },
    ],
  },
  {
    name: "two-locks-at-once",
    about: "grants a lock beside one that conflicts with it",
    profile: "weather",
    replacements: [
      {
        file: "core/locks.ts",
        text: `if (mode !== "unlock" && conflictingLock(before, { ...holder, mode }) !== undefined) return fail("EAGAIN");`,
        by: "",
      },
    ],
  },
  {
    name: "part-of-a-slice",
    about: "what is left of a slice that was overwritten at its beginning is read from the slice's beginning",
    profile: "weather",
    replacements: [
      {
        file: "core/segments.ts",
        text: "sliceOffset: segment.sliceOffset + begin - segment.offset,",
        by: "sliceOffset: segment.sliceOffset,",
      },
    ],
  },
  {
    name: "reaps-what-is-open",
    about: "removes a file without names that is open",
    profile: "weather",
    replacements: [
      { file: "meta-server/services/metadata/reaper.ts", text: "&& !this.#isOpenAnywhere(inode, since))", by: ")" },
    ],
  },
  {
    name: "reaps-what-a-mirror-has-open",
    about: "removes a file without names that is open in another region",
    profile: "mirror",
    replacements: [
      {
        file: "meta-server/region-server.ts",
        text: "clients.isOpen(inode) || isOpenElsewhere(inode, since)",
        by: "clients.isOpen(inode) || (since < 0 && isOpenElsewhere(inode, since))",
      },
    ],
  },
  {
    name: "pending-miscounted",
    about: "bytes that are copied stay in the total of what is pending",
    profile: "mirror",
    replacements: [
      {
        file: "meta-server/machine/region-facts.ts",
        text: "bytes: totals.bytes + sign * pending.bytes,",
        by: "bytes: totals.bytes + Math.max(0, sign) * pending.bytes,",
      },
    ],
  },
  {
    name: "fence-forgotten",
    about: "continues to take changes after it has committed that a later epoch has begun",
    profile: "promotions",
    replacements: [
      {
        file: "meta-server/machine/machine.ts",
        text: `if (this.facts.fence > volume.version.epoch) return "fenced";`,
        by: "",
      },
      {
        file: "meta-server/machine/machine.ts",
        text: "if (fence > this.version.epoch && !(",
        by: "if (fence < 0 && !(",
      },
    ],
  },
  {
    name: "lease-ignores-drift",
    about: "a leader's lease lasts as long as if all clocks ran alike",
    profile: "leases",
    escapes:
      "another leader must commit a change within the third of a second by which the lease is too long, before a read",
    replacements: [{ file: "consensus/raft/lease.ts", text: "/ (1 + times.clockDriftPercent / 100)", by: "/ 1" }],
  },
  {
    name: "read-by-a-stale-round",
    about: "takes the answer to a round that was sent before the read for its confirmation",
    profile: "deposed",
    escapes: "a leader must be replaced, and the new one commit, while an answer from before the read is under way",
    replacements: [
      {
        file: "consensus/raft/read-index.ts",
        text: "index: state.log.commit, round: state.round + 1 });",
        by: "index: state.log.commit, round: state.round });",
      },
    ],
  },
  {
    name: "bootstrap-over-promotion",
    about: "makes a snapshot the live state although an epoch was begun here meanwhile",
    profile: "promotions",
    escapes: "a promotion must be committed between the last part of a snapshot and its flip",
    replacements: [
      {
        file: "meta-server/machine/machine.ts",
        text: " || entry.replaces !== this.version.epoch) return;",
        by: ") return;",
      },
    ],
  },
];
