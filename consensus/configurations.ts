import { type Configuration, decodeConfiguration } from "./raft/configuration.ts";
import type { Entry } from "./raft/entry.ts";

/** What a log must remember of its configurations to know them without reading its entries: few, and small. */
export class Configurations {
  #list: readonly Configuration[];

  constructor(list: readonly Configuration[]) {
    this.#list = list;
  }

  get list(): readonly Configuration[] {
    return this.#list;
  }

  /** @returns whether there are others now */
  appended(entries: readonly Entry[]): boolean {
    const first = entries[0];
    if (first === undefined) return false;
    const last = this.#list.at(-1);
    const came = entries.filter(({ kind }) => kind === "configuration");
    if (came.length === 0 && (last === undefined || last.index < first.index)) return false;
    const kept = this.#list.filter(({ index }) => index < first.index);
    this.#list = [...kept, ...came.map(({ index, data }) => decodeConfiguration(index, data))];
    return true;
  }

  /** @returns whether there are others now */
  cut(through: number): boolean {
    const before = this.#list.length;
    this.#list = this.#list.filter((_, i, all) => (all[i + 1]?.index ?? through + 1) > through);
    return this.#list.length !== before;
  }

  replace(configuration: Configuration): void {
    this.#list = [configuration];
  }
}
