import type { Fault } from "./fault.ts";

/** Elections, replication and changes of the members. */
export const CONSENSUS_MEMBERSHIP: readonly Fault[] = [
  {
    name: "learner-counts-as-voter",
    about: "learners are counted among the voters",
    replacements: [
      {
        file: "consensus/raft/configuration.ts",
        text: "members.filter(({ learner }) => !learner).map(({ id }) => id)",
        by: "members.map(({ id }) => id)",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a learner receives every entry, and counts toward no majority",
  },
  {
    name: "two-changes-at-once",
    about: "a membership change is accepted while another one is not committed",
    replacements: [
      {
        file: "consensus/raft/membership.ts",
        text: `state.configuration.index > log.commit ? "pending" : undefined`,
        by: "undefined",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "one change at a time",
  },
  {
    name: "change-before-own-commit",
    about: "a membership change is accepted before the leader has committed an entry of its own term",
    replacements: [
      { file: "consensus/raft/membership.ts", text: `if (log.term(log.commit) !== term) return "unsettled";`, by: "" },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "of changes by two successive leaders",
  },
  {
    name: "change-outlives-its-entry",
    about: "a configuration stays in effect when its entry is replaced",
    replacements: [
      {
        file: "consensus/raft/log.ts",
        text: "while (this.configuration.index > last) this.#configurations.pop();",
        by: "",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a change that another leader's entries replace is rolled back",
  },
  {
    name: "removed-server-is-heard",
    about: "vote requests of a server outside the configuration are treated like a member's",
    replacements: [
      {
        file: "consensus/raft/election.ts",
        text: "return !(last.term > log.lastTerm || (last.term === log.lastTerm && last.index > log.lastIndex));",
        by: "return false;",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a removed server disrupts nobody",
  },
  {
    name: "dismissed-server-campaigns",
    about: "a server that was notified of its removal still starts elections",
    replacements: [
      {
        file: "consensus/raft/election.ts",
        text: "if (state.dismissed || (state.newcomer && log.lastIndex > 0)) return false;",
        by: "if (state.newcomer && log.lastIndex > 0) return false;",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a removed server disrupts nobody",
  },
  {
    name: "emptied-server-votes",
    about: "a member that lost its disk grants votes before it has caught up",
    replacements: [
      {
        file: "consensus/raft/election.ts",
        text: "return !state.newcomer || (state.log.lastIndex === 0 && last.index === 0);",
        by: "return true;",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a member that lost its disk grants no vote",
  },
  {
    name: "two-emptied-elect",
    about: "a group begins with the votes of a majority, also of one whose members have all lost their disks",
    replacements: [
      {
        file: "consensus/raft/election.ts",
        text: "const needed = log.lastIndex === 0 ? voters.length : quorum;",
        by: "const needed = log.lastIndex === 0 ? quorum : quorum;",
      },
    ],
    test: "test/consensus/raft/election.test.ts",
    title: "two emptied members do not elect each other",
  },
  {
    name: "emptied-server-never-votes",
    about: "a member that lost its disk grants no vote even after it has caught up",
    replacements: [
      {
        file: "consensus/raft/election.ts",
        text: "if (state.newcomer && log.commit >= committed && log.term(log.commit) === term) state.newcomer = false;",
        by: "",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a member that lost its disk grants no vote",
  },
  {
    name: "removed-leader-stays",
    about: "a leader that removed itself stays in office after that is committed",
    replacements: [
      {
        file: "consensus/raft/replication.ts",
        text: "if (configuration.index > log.commit || isMember(configuration, from)) return;",
        by: "return;",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a leader that removes itself stays in office until",
  },
  {
    name: "removed-leader-counts-itself",
    about: "a leader that removed itself still counts its own log toward the majority",
    replacements: [
      {
        file: "consensus/raft/state.ts",
        text: "const values = state.voters.map(reachedBy)",
        by: "const values = [...new Set([state.self, ...state.voters])].map(reachedBy)",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a leader that removes itself stays in office until",
  },
  {
    name: "removed-leader-hands-nothing-over",
    about: "a leader that removed itself steps down without requesting an election",
    replacements: [
      {
        file: "consensus/raft/replication.ts",
        text: `if (to !== undefined) state.send({ type: "timeoutNow", from, to, term });`,
        by: "",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a leader that removes itself stays in office until",
  },
  {
    name: "removed-leader-never-stands-again",
    about: "a server whose removal is not committed starts no election, although it holds the only copy of it",
    replacements: [
      {
        file: "consensus/raft/election.ts",
        text: "return configuration.index > log.commit && votersOf(log.configurationAt(log.commit)).includes(self);",
        by: "return false;",
      },
    ],
    test: "test/consensus/raft/membership.test.ts",
    title: "a removed server with the only copy of its removal",
  },
  {
    name: "transfer-never-requested",
    about: "a leadership transfer does not ask its target to start an election",
    replacements: [
      {
        file: "consensus/raft/transfer.ts",
        text: `if (state.progress.get(to)?.match === log.lastIndex) state.send({ type: "timeoutNow", from, to, term });`,
        by: "",
      },
    ],
    test: "test/consensus/raft/election.test.ts",
    title: "leadership transfer: the target is brought up to date",
  },
  {
    name: "window-has-no-end",
    about: "a leader sends a follower any number of appends before it acknowledges one",
    replacements: [
      {
        file: "consensus/raft/progress.ts",
        text: "return this.#inFlight.length >= this.#window.messagesMax || this.#inFlightBytes >= this.#window.bytesMax;",
        by: "return false;",
      },
    ],
    test: "test/consensus/raft/replication.test.ts",
    title: "further appends are pipelined until the window is full",
  },
];
