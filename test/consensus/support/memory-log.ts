import { Configurations } from "../../../consensus/configurations.ts";
import type { LogStore, StoredLog, StoredPosition, TermStart } from "../../../consensus/log-store.ts";
import type { Configuration } from "../../../consensus/raft/configuration.ts";
import type { Entry } from "../../../consensus/raft/entry.ts";
import type { HardState, LogPosition } from "../../../consensus/raft/messages.ts";

/** A disk in memory: survives the crash of its server. */
export interface MemoryDisk {
  hardState: HardState;
  base: LogPosition;
  /** The entries after base, in order. */
  entries: Entry[];
  restoring: StoredPosition | undefined;
  configurations: readonly Configuration[];
}

export function emptyDisk(): MemoryDisk {
  return {
    hardState: { term: 0, vote: 0, commit: 0 },
    base: { index: 0, term: 0 },
    entries: [],
    restoring: undefined,
    configurations: [],
  };
}

/** Decides when a write or a read completes. */
export type Delay = (run: () => void) => void;

/** A log on a disk in memory. Writes are atomic, like LevelDB's batches: after a crash, the one in flight is complete or absent. */
export class MemoryLog implements LogStore {
  readonly stored: StoredLog;
  readonly #disk: MemoryDisk;
  readonly #delay: Delay;
  #inFlight: (() => void) | undefined;
  #crashed = false;

  constructor(disk: MemoryDisk, delay: Delay) {
    this.#disk = disk;
    this.#delay = delay;
    this.stored = {
      hardState: disk.hardState,
      base: disk.base,
      lastIndex: lastIndexOf(disk),
      termStarts: termStartsOf(disk.entries),
      restoring: disk.restoring,
      configurations: disk.configurations,
    };
  }

  async begin(configuration: Configuration): Promise<void> {
    await this.#wait();
    this.#disk.configurations = [configuration];
  }

  append(hardState: HardState, entries: readonly Entry[], done: (error?: Error) => void): void {
    if (this.#inFlight !== undefined) throw new Error("one append at a time");
    this.#inFlight = () => {
      this.#disk.hardState = hardState;
      if (entries.length > 0) this.#replace(entries);
    };
    this.#delay(() => {
      if (this.#crashed) return;
      this.#inFlight!();
      this.#inFlight = undefined;
      done();
    });
  }

  async read(from: number, through: number, bytesMax: number): Promise<Entry[]> {
    await this.#wait();
    if (from <= this.#disk.base.index) return [];
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#disk.entries.slice(from - this.#disk.base.index - 1)) {
      if (entry.index > through || bytes >= bytesMax) break;
      entries.push(entry);
      bytes += entry.encoded.length;
    }
    return entries;
  }

  async cut(through: LogPosition): Promise<void> {
    await this.#wait();
    if (through.index <= this.#disk.base.index) return;
    this.#disk.entries = this.#disk.entries.filter(({ index }) => index > through.index);
    this.#disk.base = through;
    this.#reconfigure((configurations) => configurations.cut(through.index));
  }

  async markRestoring(at: StoredPosition | undefined): Promise<void> {
    await this.#wait();
    this.#disk.restoring = at;
  }

  async reset({ configuration, ...at }: StoredPosition): Promise<void> {
    await this.#wait();
    this.#disk.base = at;
    if (configuration !== undefined) this.#disk.configurations = [configuration];
    this.#disk.entries = [];
    this.#disk.restoring = undefined;
  }

  async close(): Promise<void> {
    while (this.#inFlight !== undefined) await this.#wait();
  }

  /** `written`: the write in flight reached the disk, and only its completion was lost. */
  crash(written: boolean): void {
    this.#crashed = true;
    if (written) this.#inFlight?.();
  }

  #replace(entries: readonly Entry[]): void {
    const { base, entries: old } = this.#disk;
    const first = entries[0]!.index;
    if (first <= base.index || first > lastIndexOf(this.#disk) + 1) throw new Error(`a gap before entry ${first}`);
    this.#disk.entries = [...old.slice(0, first - base.index - 1), ...entries];
    this.#reconfigure((configurations) => configurations.appended(entries));
  }

  #reconfigure(change: (configurations: Configurations) => boolean): void {
    const configurations = new Configurations(this.#disk.configurations);
    change(configurations);
    this.#disk.configurations = configurations.list;
  }

  /** Never resolves after a crash. */
  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#delay(() => {
        if (!this.#crashed) resolve();
      });
    });
  }
}

function lastIndexOf(disk: MemoryDisk): number {
  return disk.base.index + disk.entries.length;
}

function termStartsOf(entries: readonly Entry[]): TermStart[] {
  const starts: TermStart[] = [];
  for (const { term, index } of entries) if (term !== starts.at(-1)?.term) starts.push({ term, index });
  return starts;
}
