import type { GroupEntry, MachineSnapshot, StateMachine } from "../../../consensus/group.ts";
import type { StateStore } from "../../../meta-server/storage/state-store.ts";

const APPLIED = "\x00applied";
const PAGE = 500;
const PART_PAIRS = 100;

/** Appends every entry to a list, on a StateStore: what two members have applied can be compared. */
export class ListMachine implements StateMachine {
  appliedIndex: number;
  durableIndex: number;
  retainFromIndex = Number.POSITIVE_INFINITY;
  /** How many snapshots it has taken, and installed. */
  snapshots = 0;
  restores = 0;
  /** Its snapshots are invalid. */
  corruptsSnapshots = false;
  /** Pairs in the parts of all installed snapshots. */
  pairsRestored = 0;
  readonly #store: StateStore;

  constructor(store: StateStore) {
    this.#store = store;
    this.appliedIndex = readApplied(store);
    this.durableIndex = this.appliedIndex;
  }

  apply(entries: readonly GroupEntry[]): unknown[] {
    const writes: [string, Uint8Array][] = [];
    for (const { index, data, kind } of entries) {
      if (index !== this.appliedIndex + 1) throw new Error(`applied ${index} after ${this.appliedIndex}`);
      this.appliedIndex = index;
      if (kind === "application") writes.push([key(index), data]);
    }
    const applied = this.appliedIndex;
    writes.push([APPLIED, Buffer.from(String(applied))]);
    this.#store.write(writes, (error) => {
      if (error === undefined) this.durableIndex = applied;
    });
    return entries.map(({ index }) => index);
  }

  ready(): Promise<void> | undefined {
    return this.#store.waitingCount > 100_000 ? this.#store.flush() : undefined;
  }

  async snapshot(): Promise<MachineSnapshot> {
    this.snapshots++;
    const snapshot = await this.#store.snapshot();
    const { corruptsSnapshots } = this;
    let index = 0;
    for await (const [first] of snapshot.pages()) {
      index = Number(Buffer.from(first![1]).toString());
      break;
    }
    async function* parts() {
      for await (const page of snapshot.pages())
        for (let i = 0; i < page.length; i += PART_PAIRS) {
          const pairs = page.slice(i, i + PART_PAIRS).map(([k, v]) => [k, Buffer.from(v).toString("latin1")]);
          yield Buffer.from(corruptsSnapshots ? "?" : JSON.stringify(pairs));
        }
    }
    return { index, parts: parts(), release: () => snapshot.release() };
  }

  async restore(at: { index: number }, parts: AsyncIterable<Uint8Array>): Promise<void> {
    this.restores++;
    await this.#store.replace(async (write) => {
      for await (const part of parts) {
        const pairs = decodePairs(part);
        this.pairsRestored += pairs.length;
        await write(pairs.map(([k, v]) => [k, Buffer.from(v, "latin1")]));
      }
    });
    this.appliedIndex = at.index;
    this.durableIndex = at.index;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** All applied entries, in order. */
  async list(): Promise<string[]> {
    const items: string[] = [];
    for (let from = key(0); ; ) {
      const page = await this.#store.range(from, key(2 ** 53 - 1), PAGE);
      items.push(...page.map(([, value]) => Buffer.from(value).toString()));
      if (page.length < PAGE) return items;
      from = `${page.at(-1)![0]}\x00`;
    }
  }
}

/** @throws RangeError for an invalid part, as the volume's machine does */
function decodePairs(part: Uint8Array): [string, string][] {
  const text = Buffer.from(part).toString();
  if (!text.startsWith("[")) throw new RangeError("an invalid part of a snapshot");
  return JSON.parse(text);
}

function readApplied(store: StateStore): number {
  const value = store.get(APPLIED);
  return value === undefined ? 0 : Number(Buffer.from(value).toString());
}

function key(index: number): string {
  return `E${String(index).padStart(16, "0")}`;
}
