import type { Fault } from "./fault.ts";

const AGENT = "mirror-agent/agent.ts";
const PLAN = "mirror-agent/plan.ts";
const AGENT_TEST = "test/mirror-agent/agent.test.ts";
const QUEUE_TEST = "test/mirror-agent/queue.test.ts";

/** Faults of the copies in a mirror's bucket: made, counted, and deleted. */
export const MIRRORING: readonly Fault[] = [
  {
    name: "failed-copy-resident",
    about: "an agent reports a slice as resident whose copy failed because a bucket did not answer",
    replacements: [
      { file: AGENT, text: "if (outcome.resident) {", by: `if (outcome.resident || outcome.blame === "path") {` },
    ],
    test: AGENT_TEST,
    title: "bucket is away, and comes back",
  },
  {
    name: "failing-slice-not-shown",
    about: "an agent never reports a failing slice as parked",
    replacements: [
      {
        file: AGENT,
        text: `const parked = outcome.blame === "slice" || failures >= PARKED_FROM;`,
        by: "const parked = false;",
      },
    ],
    test: AGENT_TEST,
    title: "one missing source block does not pin the rest, is shown, and heals",
  },
  {
    name: "copy-without-checksum",
    about: "the copier stores what a bucket answered without comparing its checksum",
    replacements: [{ file: "mirror-agent/verify.ts", text: "if (crc32c(body) !== block.crc32c)", by: "if (!block)" }],
    test: "test/mirror-agent/copier.test.ts",
    title: "A slice counts as copied only when every block of it",
  },
  {
    name: "listing-cut-short",
    about: "the S3 store takes a later page of a listing that failed for an empty last one",
    replacements: [
      {
        file: "object-store/s3.ts",
        text: `        return this.#client.send(ask, { abortSignal });
      });
      for (const object`,
        by: `        return this.#client.send(ask, { abortSignal });
      }).catch((error) => {
        if (token === undefined) throw error;
        return {} as { Contents?: []; NextContinuationToken?: string; IsTruncated?: boolean };
      });
      for (const object`,
      },
    ],
    test: "test/object-store/s3.test.ts",
  },
  {
    name: "restart-forgets",
    about: "an agent passes over slices that became pending before it was started",
    replacements: [
      {
        file: AGENT,
        text: "readonly #gone = new Set<SliceId>();",
        by: `readonly #gone = new Set<SliceId>();
  readonly #startedMs = Date.now();`,
      },
      {
        file: AGENT,
        text: "if (pending.gone) {",
        by: `if (pending.sinceMs < this.#startedMs) continue;
      if (pending.gone) {`,
      },
    ],
    test: AGENT_TEST,
    title: "an agent that is stopped and started again forgets nothing",
  },
  {
    name: "nothing-pending",
    about: "a mirror counts no slice of another region as pending",
    replacements: [
      {
        file: "meta-server/machine/machine.ts",
        text: "if (slice.home !== own) this.facts.addPending(",
        by: "if (own === undefined) this.facts.addPending(",
      },
    ],
    test: "test/semantics/mirroring.test.ts",
    title: "What is not copied is pending",
  },
  {
    name: "garbage-before-absent-mirror",
    about: "the primary records that a mirror has applied what only the primary has, although the mirror is away",
    replacements: [
      {
        file: "meta-server/services/changelog/progress.ts",
        text: "await this.#commit(index as RegionIndex, applied);",
        by: "await this.#commit(index as RegionIndex, machine.version);",
      },
    ],
    test: "test/semantics/mirroring.test.ts",
    title: "A block is deleted only when every region has applied that nothing names it any more",
  },
  {
    name: "dropped-while-away-kept",
    about: "slices that only a replaced state names are kept for ever",
    replacements: [
      {
        file: "meta-server/machine/region-facts.ts",
        text: "this.#setSorting(isPast ? [...this.sorting, replaced] : []);",
        by: "this.#setSorting(isPast ? this.sorting : [replaced].slice(1));",
      },
    ],
    test: "test/meta-server/machine/sorted.test.ts",
    title: "slices that were dropped while a mirror was away",
  },
  {
    name: "tail-is-garbage",
    about: "slices that only a replaced state names are garbage, also where that state is not a past of the new one",
    replacements: [
      {
        file: "meta-server/machine/machine.ts",
        text: "const isPast = this.facts.diverged === undefined && isOnChangelog(this.tree, old);",
        by: "const isPast = this.facts.diverged === undefined && (isOnChangelog(this.tree, old) || true);",
      },
    ],
    test: "test/meta-server/machine/sorted.test.ts",
    title: "a state with changes that the new one lacks",
  },
  {
    name: "sorted-from-the-start",
    about: "a new leader compares a replaced state from its first key on again",
    replacements: [
      {
        file: "meta-server/machine/region-facts.ts",
        text: "{ ...one, after: after! }",
        by: "{ ...one, after: after! && one.after }",
      },
    ],
    test: "test/meta-server/machine/sorted.test.ts",
    title: "sorting survives a crash after any entry",
  },
  {
    name: "swept-before-sorted",
    about: "a replaced state is deleted before it is compared with the new one",
    replacements: [
      {
        file: "meta-server/machine/machine.ts",
        text: "return this.#generations.sweep(this.facts.generation, kept);",
        by: "return this.#generations.sweep(this.facts.generation, kept.slice(0, 0));",
      },
    ],
    test: "test/meta-server/machine/sorted.test.ts",
    title: "sorting survives a crash after any entry",
  },
  {
    name: "garbage-of-another-history",
    about: "what is garbage in one state is garbage in the state that replaces it",
    replacements: [
      {
        file: "meta-server/machine/local-keys.ts",
        text: "export function garbagePrefix(generation: number): string {",
        by: "export function garbagePrefix(generation: number): string {\n  generation = 1;",
      },
    ],
    test: "test/meta-server/machine/sorted.test.ts",
    title: "garbage stays garbage while a snapshot is loaded",
  },
  {
    name: "revoked-survives",
    about: "ids that were revoked in one history are revoked in the one that replaces it",
    replacements: [
      {
        file: "meta-server/machine/local-keys.ts",
        text: "export function revokedPrefix(generation: number): string {",
        by: "export function revokedPrefix(generation: number): string {\n  generation = 1;",
      },
    ],
    test: "test/meta-server/machine/bootstrap.test.ts",
    title: "ids that were revoked in a history",
  },
  {
    name: "sweep-not-done",
    about: "an agent reports revoked ids as swept without deleting the blocks under them",
    replacements: [{ file: "mirror-agent/collect.ts", text: "await own.delete(key, { signal });", by: "" }],
    test: AGENT_TEST,
    title: "blocks stored under revoked ids are deleted from the own bucket, and no others",
  },
  {
    name: "finished-jobs-kept",
    about: "Redis keeps finished jobs, and ignores a job that is added again under the same name",
    replacements: [
      {
        file: "mirror-agent/queue.ts",
        text: "removeOnComplete: true, removeOnFail: true",
        by: "removeOnComplete: false, removeOnFail: false",
      },
    ],
    test: QUEUE_TEST,
    title: "a job runs once however often it is added, and again when it is added after it ended",
  },
  {
    name: "vanished-job-not-readded",
    about: "the plan counts a slice as queued for ever, although the queue no longer holds it",
    replacements: [
      {
        file: PLAN,
        text: `        item.readded++;
        this.#makeReady(item);`,
        by: "",
      },
    ],
    test: "test/mirror-agent/plan.test.ts",
    title: "a slice that vanished from the queue is put in again, the second time under another job name",
  },
  {
    name: "leftover-job-swallows-slice",
    about: "a slice is put into the queue again under the same job name for ever, which a leftover in Redis swallows",
    replacements: [
      {
        file: "mirror-agent/copy-job.ts",
        text: "name: jobName(ids, first.readded >> 1),",
        by: "name: jobName(ids, 0),",
      },
    ],
    test: "test/mirror-agent/plan.test.ts",
    title: "a slice that vanished from the queue is put in again, the second time under another job name",
  },
  {
    name: "queue-never-compared",
    about: "an agent never compares its plan with what Redis still holds",
    replacements: [{ file: AGENT, text: "this.#options.plan.reconcile(held, Date.now());", by: "" }],
    test: QUEUE_TEST,
    title: "Redis may lose everything at any time",
  },
];
