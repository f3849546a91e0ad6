import type { Fault } from "./fault.ts";

const POSIX = "test/semantics/posix.test.ts";
const MIRRORING = "test/semantics/mirroring.test.ts";
const ANSWER_READ = "meta-server/services/metadata/answer-read.ts";
const RULES = "meta-server/roles/epochs/rules.ts";

/** The table "Promises seen to fail" of docs/TRACK_RECORD.md. */
export const SEMANTICS: readonly Fault[] = [
  {
    name: "rename-in-two-steps",
    about: "a client removes the name that is replaced in a change of its own, before the rename",
    replacements: [
      {
        file: "client/volume/filesystem/names.ts",
        text: `if (newName.length > NAME_BYTES_MAX) return "ENAMETOOLONG";`,
        by: `if (newName.length > NAME_BYTES_MAX) return "ENAMETOOLONG";
  await session.mutate({ kind: "unlink", parent: newParent, name: newName }, { interrupt: caller });`,
      },
    ],
    test: POSIX,
    title: "rename is atomic",
  },
  {
    name: "mirrors-not-asked-for-opens",
    about: "the primary removes an inode without links although it is open at a mirror",
    replacements: [
      {
        file: "meta-server/region-server.ts",
        text: "(inode, since) => clients.isOpen(inode) || isOpenElsewhere(inode, since)",
        by: "(inode, since) => clients.isOpen(inode) || (since < 0 && isOpenElsewhere(inode, since))",
      },
    ],
    test: POSIX,
    title: "A file that is unlinked while it is open keeps its content",
  },
  {
    name: "names-not-checked",
    about: "the server opens an inode without checking the names by which the kernel came to it",
    replacements: [
      {
        file: ANSWER_READ,
        text: "const stale = beliefs.findIndex((belief) => !holds(machine, belief));",
        by: "const stale = beliefs.findIndex((belief) => !holds(machine, belief) && belief.inode < 0);",
      },
    ],
    test: POSIX,
    title: "Names are as new as the open",
  },
  {
    name: "listing-ends-early",
    about: "the server calls the first page of a listing the last one",
    replacements: [{ file: ANSWER_READ, text: "answer.end = found.length < wanted;", by: "answer.end = true;" }],
    test: POSIX,
    title: "A listing names each entry",
  },
  {
    name: "token-not-sent",
    about: "a client does not send its token with a read",
    replacements: [
      {
        file: "client/volume/metadata/read-policy.ts",
        text: "atLeast: token.sequence === 0 ? undefined : token,",
        by: "atLeast: token.sequence >= 0 ? undefined : token,",
      },
    ],
    test: "test/semantics/consistency.test.ts",
    title: "With consistency=session",
  },
  {
    name: "mirror-does-not-ask",
    about: "a mirror answers reads without asking the primary what it has committed",
    replacements: [
      {
        file: "meta-server/services/metadata/read-rules.ts",
        text: `mirror: { committed: "primary's commit", token: "token" },`,
        by: `mirror: { committed: "token", token: "token" },`,
      },
    ],
    test: "test/client/volume/two-regions.test.ts",
    title: "Close-to-open across regions",
  },
  {
    name: "lost-lock-unnoticed",
    about: "descriptors of locked files remain usable after the locks ended with their session",
    replacements: [
      {
        file: "client/volume/filesystem/mount-state.ts",
        text: "lockOwners?.any) handle.broken = true;",
        by: "lockOwners?.any) handle.broken = false;",
      },
    ],
    test: "test/semantics/failures.test.ts",
    title: "Locks end with their session",
  },
  {
    name: "bootstrap-over-living-keys",
    about: "a bootstrap writes its keys over those of the living state",
    replacements: [
      {
        file: "meta-server/machine/generations.ts",
        text: "const prefix = generationPrefix(entry.generation);",
        by: "const prefix = generationPrefix(facts.generation);",
      },
    ],
    test: MIRRORING,
    title: "A bootstrap is written beside the state that it replaces",
  },
  {
    name: "promotion-without-comparing",
    about: "a promotion by force does not compare the versions of the other mirrors",
    replacements: [
      {
        file: "meta-server/roles/epochs/promotion-rules.ts",
        text: "compareVersions(asVersion(version), at.version) > 0 && !isGivenUp(region)",
        by: "compareVersions(asVersion(version), at.version) > 0 && at.fence < 0 && !isGivenUp(region)",
      },
    ],
    test: MIRRORING,
    title: "A promotion is refused while another mirror within reach has applied more",
  },
  {
    name: "primary-serves-at-once",
    about: "a primary that starts takes changes although other regions have not reported their epochs",
    replacements: [
      {
        file: "meta-server/services/metadata/mutations.ts",
        text: `if (machine.role === "primary" && this.#mayServe()) return undefined;`,
        by: `if (machine.role === "primary") return undefined;`,
      },
    ],
    test: MIRRORING,
    title: "A primary that starts again takes no change",
  },
  {
    name: "close-without-commit",
    about: "close does not commit what was written",
    replacements: [
      {
        file: "client/volume/filesystem/durability.ts",
        text: "commits ? commitOrReport(caller, handle) : true;",
        by: "commits ? unreported(handle) : true;",
      },
    ],
    test: "test/semantics/journey.test.ts",
    title: "echo hi > /mnt/aws/a",
  },
  {
    name: "format-without-asking",
    about: "an unformatted first region formats the volume without asking whether another region holds it",
    replacements: [
      {
        file: RULES,
        text: `(at.firstRegion === at.region ? [{ do: "ask" }] : [])`,
        by: `(at.firstRegion === at.region ? [{ do: "format" }] : [])`,
      },
    ],
    test: "test/semantics/repair.test.ts",
    title: "an old primary with changes of its own follows once its disk is emptied",
  },
];
