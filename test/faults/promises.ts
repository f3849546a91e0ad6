import type { Fault } from "./fault.ts";

const TWO_REGIONS = "test/client/volume/two-regions.test.ts";
const CONSISTENCY = "test/semantics/consistency.test.ts";
const ROLES = "test/semantics/roles.test.ts";
const ROUTER = "client/volume/metadata/router.ts";
const LOSS_REPORTS = "meta-server/roles/epochs/loss-reports.ts";
const REPORT_TITLE = "A promotion by force keeps a report";

/** Faults against promises whose tests used to accept them: rows of the table "Promises seen to fail" of docs/TRACK_RECORD.md. */
export const PROMISES: readonly Fault[] = [
  {
    name: "rename-seen-late",
    about: "a mirror finds the file of an earlier rename, because it does not ask the primary what it has committed",
    replacements: [
      {
        file: "meta-server/services/metadata/read-rules.ts",
        text: `mirror: { committed: "primary's commit", token: "token" },`,
        by: `mirror: { committed: "token", token: "token" },`,
      },
    ],
    test: "test/semantics/posix.test.ts",
    title: "rename is atomic",
  },
  {
    name: "acknowledged-before-written",
    about: "the log reports an entry as durable before it is given to the disk",
    replacements: [
      {
        file: "meta-server/storage/level-log.ts",
        text: "this.#lastWrite = written;\n    return written;",
        by: "this.#lastWrite = written;\n    return Promise.resolve();",
      },
      {
        file: "meta-server/storage/level-log.ts",
        text: "const write = () => this.#level.batch(operations, { sync: true });",
        by: `const write = async () => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      await this.#level.batch(operations);
    };`,
      },
    ],
    test: "test/crash/kill.test.ts",
  },
  {
    name: "write-does-not-wait",
    about: "a change fails at once when there is no primary, instead of after writeTimeoutMs",
    replacements: [
      {
        file: "client/volume/metadata/client-session.ts",
        text: "const deadlineMs = options.wait ? Number.POSITIVE_INFINITY : performance.now() + this.#writeTimeoutMs;",
        by: "const deadlineMs = options.wait ? Number.POSITIVE_INFINITY : performance.now();",
      },
    ],
    test: TWO_REGIONS,
    title: "A write waits up to writeTimeoutMs",
  },
  {
    name: "session-asks-the-primary",
    about: "reads with consistency=session ask the primary what it has committed",
    replacements: [
      {
        file: "client/volume/metadata/read-policy.ts",
        text: `if (freshness === "token" || this.#consistency === "session") return true;`,
        by: `if (freshness === "token") return true;`,
      },
    ],
    test: CONSISTENCY,
    title: "With consistency=session",
  },
  {
    name: "loss-of-the-primary-not-logged",
    about: "a mount serves the mirror's state while the primary is out of reach, and does not say so in the log",
    replacements: [
      {
        file: ROUTER,
        text: `logger.warn("the primary is out of reach: reads are served`,
        by: `logger.debug("the primary is out of reach: reads are served`,
      },
    ],
    test: TWO_REGIONS,
    title: "With the primary out of reach",
  },
  {
    name: "difference-not-noticed",
    about: "a mirror does not compare its state hash with the primary's",
    replacements: [
      {
        file: "meta-server/roles/follower/follower.ts",
        text: "const own = machine.hashAt(at);",
        by: "const own = at < 0 ? machine.hashAt(at) : undefined;",
      },
    ],
    test: "test/semantics/mirroring.test.ts",
    title: "A mirror whose state differs",
  },
  {
    name: "taken-back-while-the-target-is-away",
    about: "a primary takes its seal back although the target does not answer, and may have taken it up",
    replacements: [
      {
        file: "meta-server/roles/epochs/epoch-keeper.ts",
        text: 'if (typeof target !== "string") await this.#handle({ kind: "targetAnswered", to, seal, target });',
        by: `if (typeof target !== "string") await this.#handle({ kind: "targetAnswered", to, seal, target });
      else if (performance.now() - this.#sealedMs > this.#sealPatienceMs) {
        await this.#handle({ kind: "declined", to, seal });
      }`,
      },
    ],
    test: ROLES,
    title: "A switchover that its target does not take up",
  },
  {
    name: "answering-home-counts-as-lost",
    about: "the loss report names files whose missing blocks are at a region that answers",
    replacements: [
      {
        file: LOSS_REPORTS,
        text: "if (name !== region && !reachable.has(name)) lost.add(index);",
        by: "if (name !== region) lost.add(index);",
      },
    ],
    test: ROLES,
    title: REPORT_TITLE,
  },
  {
    name: "report-without-what-was-heard",
    about: "the loss report gives where the histories part as the last commit that the mirror had heard of",
    replacements: [
      {
        file: LOSS_REPORTS,
        text: "heard: heard.epoch === previous.epoch && heard.sequence > previous.sequence ? heard : previous,",
        by: "heard: previous,",
      },
    ],
    test: ROLES,
    title: REPORT_TITLE,
  },
];
