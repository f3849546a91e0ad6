import type { GroupEntry, GroupStatus } from "../../../meta-server/group.ts";
import type { Entry } from "../../../meta-server/raft/entry.ts";
import type { MemoryDisk } from "../../storage/memory-log.ts";

interface Known {
  readonly term: number;
  readonly text: string;
}

/** What must hold over the whole run, on all servers together (dissertation, figure 3.2). Throws where it does not. */
export class Truth {
  readonly #leaders = new Map<number, number>();
  readonly #entries = new Map<string, { text: string; previousTerm: number | undefined }>();
  /** By index. */
  readonly #committed: (Known | undefined)[] = [];
  readonly #lastTerm = new Map<number, number>();
  /** Highest index whose proposer was told that it is committed. */
  acknowledged = 0;
  elections = 0;
  newestLeader = 0;

  get committed(): number {
    return this.#committed.length - 1;
  }

  /** After every step, of every live server. */
  observe(id: number, { role, term, commit, applied }: GroupStatus): void {
    hold(applied <= commit, `server ${id} has applied ${applied} and committed ${commit}`);
    hold(term >= (this.#lastTerm.get(id) ?? 0), `the term of server ${id} fell to ${term}`);
    this.#lastTerm.set(id, term);
    if (role !== "leader") return;
    const known = this.#leaders.get(term);
    hold(known === undefined || known === id, `one leader a term: ${known} and ${id} in term ${term}`);
    if (known !== undefined) return;
    this.#leaders.set(term, id);
    this.elections++;
    this.newestLeader = id;
  }

  /** A crash loses what was not synced: the term may fall to what the disk holds. */
  crashed(id: number, disk: MemoryDisk): void {
    this.#lastTerm.set(id, disk.hardState.term);
  }

  /** Log matching: an index and a term name one entry and all before it. Leader completeness: see below. */
  wrote(id: number, disk: MemoryDisk, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const previous = disk.entries[entry.index - disk.base.index - 2];
      const previousTerm = previous?.term ?? (entry.index === disk.base.index + 1 ? disk.base.term : undefined);
      const name = `${entry.index}@${entry.term}`;
      const known = this.#entries.get(name);
      const text = textOf(entry);
      if (known === undefined) this.#entries.set(name, { text, previousTerm });
      else
        hold(known.text === text && known.previousTerm === previousTerm, `log matching: two entries ${name} at ${id}`);
      if (entry.kind === "noop" && this.#leaders.get(entry.term) === id) this.#isComplete(id, disk, entry);
    }
  }

  /** The leader's first entry of its term stands behind everything that was committed in earlier ones. */
  #isComplete(id: number, disk: MemoryDisk, first: Entry): void {
    for (let index = disk.base.index + 1; index < this.#committed.length; index++) {
      const known = this.#committed[index];
      if (known === undefined || known.term >= first.term) continue;
      const own = disk.entries[index - disk.base.index - 1];
      hold(own?.term === known.term, `leader completeness: ${id} leads term ${first.term} without ${index}`);
    }
  }

  applied(id: number, entry: GroupEntry): void {
    const known = this.#committed[entry.index];
    const text = textOf(entry);
    if (known === undefined) this.#committed[entry.index] = { term: entry.term, text };
    else
      hold(
        known.term === entry.term && known.text === text,
        `state machine safety: server ${id} applied ${text}@${entry.term} at ${entry.index}, before it was ${known.text}@${known.term}`,
      );
  }

  /** A proposer was told so by server `id`, which had applied it. */
  acknowledge(index: number, text: string): void {
    hold(
      this.#committed[index]?.text === text,
      `${text} was acknowledged at ${index}, where ${this.#committed[index]?.text} is`,
    );
    this.acknowledged = Math.max(this.acknowledged, index);
  }

  textAt(index: number): string | undefined {
    return this.#committed[index]?.text;
  }
}

export function hold(truth: boolean, otherwise: string): asserts truth {
  if (!truth) throw new Error(`violated: ${otherwise}`);
}

function textOf(entry: Pick<Entry, "kind" | "data">): string {
  return entry.kind === "noop" ? "noop" : Buffer.from(entry.data).toString();
}
