import type { GroupContext } from "./group-options.ts";

/** Log compaction: cuts the log at its front, one cut at a time. */
export class Compaction {
  readonly #context: GroupContext;
  #cutting: Promise<void> | undefined;

  constructor(context: GroupContext) {
    this.#context = context;
  }

  /** Resolves when the cut under way is durable; undefined when there is none. */
  get cutting(): Promise<void> | undefined {
    return this.#cutting;
  }

  /** `pins`: indexes from which the log must stay. */
  cut(pins: readonly number[]): void {
    if (this.#cutting !== undefined) return;
    const { raft, log, lifecycle } = this.#context;
    const through = planCut(this.#context, pins);
    if (through === undefined) return;
    raft.step({ type: "cut", through });
    this.#cutting = log.cut(raft.log.base).then(
      () => {
        this.#cutting = undefined;
      },
      (error) => lifecycle.fail(error),
    );
  }
}

/**
 * The index through which to cut the log, or undefined when that would drop less than cutStep entries. Never beyond what
 * the machine has on disk, what a reader of the log still needs, or a snapshot under way to a member.
 */
function planCut({ raft, machine, tuning }: GroupContext, pins: readonly number[]): number | undefined {
  const { log } = raft;
  const matched = log.configuration.members
    .map(({ id }) => raft.progress(id))
    .filter((progress) => progress !== undefined && progress.silentTicks < tuning.electionTicks)
    .map((progress) => progress!.match);
  const through = Math.min(
    machine.durableIndex,
    machine.retainFromIndex - 1,
    log.applied - tuning.keepEntries,
    Math.max(Math.min(...matched), log.applied - tuning.keepForSlowEntries),
    ...pins,
  );
  return through - log.base.index >= tuning.cutStep ? through : undefined;
}
