/** What must hold in every run. A violation names the one that did not; only that counts as catching a mutant. */
export const TRUTHS = {
  "election safety": "a term has at most one leader",
  "terms never go back": "a member's term, in memory and on its disk, never decreases",
  "log matching": "an index and a term identify one entry, and all before it",
  "leader completeness": "a leader's log holds every entry that was committed in an earlier term",
  "state machine safety": "what is committed at an index never changes, and nothing is applied before it is committed",
  "one changelog": "all servers of all regions apply the same commands in the same order, without a gap",
  "one state": "the same version has the same state hash on every server",
  "sound tree": "a state's records agree: names, links, chunks, sums, sessions, locks, the hash",
  "sums at rest": "the totals that a server keeps are those of its records",
  "slice ids": "a slice id is used once, and only by the session to which it was granted",
  "blocks are kept": "no block is deleted that a state or a session can still name",
  "reads are right": "a read returns what the state was at the version that it states",
  "reads go forward": "a read is not older than what its session has seen",
  linearizable: "changes and committed reads take effect one after the other, each while it is under way",
  "acknowledged is kept":
    "an acknowledged change is in the history, or past the fork of a forced promotion and kept by its region",
  "a fence is final": "a region acknowledges nothing in an epoch once it has heard of a later one",
  "locks exclude": "no two clients hold conflicting locks",
  "open files are kept": "a file that is open can be read through its descriptor, whatever happens to its names",
  "servers run": "no server stops by itself, and no error is left uncaught, while its disk works",
  liveness: "once the faults are over, every region works again and all come to rest in the same state",
} as const;

export type Truth = keyof typeof TRUTHS;
