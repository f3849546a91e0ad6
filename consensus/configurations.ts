import { type Configuration, decodeConfiguration } from "./raft/configuration.ts";
import type { Entry } from "./raft/entry.ts";

/**
 * The configurations in a log, which a LogStore keeps beside its entries: a member knows its group without reading
 * them.
 */
export class Configurations {
  #list: readonly Configuration[];

  constructor(list: readonly Configuration[]) {
    this.#list = list;
  }

  get list(): readonly Configuration[] {
    return this.#list;
  }

  /** The entries replace all from the first one's index on. @returns whether the list changed */
  appended(entries: readonly Entry[]): boolean {
    const first = entries[0];
    if (first === undefined) return false;
    const last = this.#list.at(-1);
    const added = entries.filter(({ kind }) => kind === "configuration");
    if (added.length === 0 && (last === undefined || last.index < first.index)) return false;
    const kept = this.#list.filter(({ index }) => index < first.index);
    this.#list = [...kept, ...added.map(({ index, data }) => decodeConfiguration(index, data))];
    return true;
  }

  /** Keeps the one in effect at `through`, and the later ones. @returns whether the list changed */
  cut(through: number): boolean {
    const before = this.#list.length;
    this.#list = this.#list.filter((_, i, all) => (all[i + 1]?.index ?? through + 1) > through);
    return this.#list.length !== before;
  }

  /** After a snapshot. */
  replace(configuration: Configuration): void {
    this.#list = [configuration];
  }
}
