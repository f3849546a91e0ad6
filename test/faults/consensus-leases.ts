import type { Fault } from "./fault.ts";

/** Leases, and reads under them. */
export const CONSENSUS_LEASES: readonly Fault[] = [
  {
    name: "lease-from-the-response",
    about: "a lease counts from the response to a heartbeat",
    replacements: [
      {
        file: "consensus/raft/lease.ts",
        text: "Math.max(lease.untilMs, atMs + config.leaseMs)",
        by: "Math.max(lease.untilMs, state.nowMs + config.leaseMs)",
      },
    ],
    test: "test/consensus/raft/lease.test.ts",
    title: "the lease counts from the sending of the heartbeat",
  },
  {
    name: "lease-without-drift",
    about: "a lease is not shortened by the drift of the clocks",
    replacements: [{ file: "consensus/raft/lease.ts", text: " / (1 + times.clockDriftPercent / 100)", by: "" }],
    test: "test/consensus/raft/lease.test.ts",
    title: "a deposed leader within the clock bound answers no read",
  },
  {
    name: "lease-of-every-tick",
    about: "a lease does not allow for a first tick right after the heartbeat",
    replacements: [{ file: "consensus/raft/lease.ts", text: "(times.electionTicks - 1)", by: "times.electionTicks" }],
    test: "test/consensus/raft/lease.test.ts",
    title: "a deposed leader within the clock bound answers no read",
  },
  {
    name: "silence-forgotten-with-the-leader",
    about: "a follower that forgets its leader no longer disregards vote requests",
    replacements: [
      {
        file: "consensus/raft/roles.ts",
        text: "state.votes = new Map();",
        by: "state.votes = new Map();\n  state.noVoteTicks = 0;",
      },
    ],
    test: "test/consensus/raft/lease.test.ts",
    title: "a follower disregards vote requests for an election timeout after a heartbeat",
  },
  {
    name: "restarted-member-votes-at-once",
    about: "a restarted member grants votes although it may have heard a leader just before",
    replacements: [
      {
        file: "consensus/raft/raft.ts",
        text: "else if (start.hardState.term > 0) this.#state.noVoteTicks = config.electionTicks;",
        by: "",
      },
    ],
    test: "test/consensus/raft/lease.test.ts",
    title: "a restarted member grants no vote for an election timeout",
  },
  {
    name: "transfer-keeps-the-lease",
    about: "a leader keeps its lease when it starts a leadership transfer",
    replacements: [{ file: "consensus/raft/transfer.ts", text: "giveUpLease(state);", by: "" }],
    test: "test/consensus/raft/lease.test.ts",
    title: "a leadership transfer gives up the lease",
  },
  {
    name: "learners-extend-the-lease",
    about: "responses of learners extend a lease",
    replacements: [
      {
        file: "consensus/raft/lease.ts",
        text: "const acknowledged = quorumValue(state, (id) =>\n    id === state.self ? state.round : (state.progress.get(id)?.round ?? 0),\n  );",
        by: "const rounds = [state.round, ...[...state.progress.values()].map(({ round }) => round)];\n  const acknowledged = rounds.sort((a, b) => b - a)[state.quorum - 1]!;",
      },
    ],
    test: "test/consensus/raft/lease.test.ts",
    title: "responses of learners do not extend the lease",
  },
  {
    name: "unanswered-round-extends-the-lease",
    about: "the first round of heartbeats counts as answered by every member",
    replacements: [{ file: "consensus/raft/lease.ts", text: "sent.at(-1)?.round ?? 0", by: "sent.at(-1)?.round" }],
    test: "test/consensus/raft/lease.test.ts",
    title: "responses of learners do not extend the lease",
  },
  {
    name: "lease-read-before-own-commit",
    about: "a new leader serves reads before it has committed an entry of its own term",
    replacements: [
      {
        file: "consensus/raft/read-index.ts",
        text: "return log.term(log.commit) === term;",
        by: "return log.term(log.commit) !== term + 1;",
      },
    ],
    test: "test/consensus/raft/lease.test.ts",
    title: "a new leader serves no read under its lease before",
  },
];
