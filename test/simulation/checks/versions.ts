import type { Version } from "../../../core/ids.ts";

interface Change<T> {
  readonly version: Version;
  readonly value: T;
}

/**
 * The value of each key at each version of a history that may have forked: a forced promotion starts a second branch.
 */
export class Versions<T> {
  readonly #changes = new Map<string, Change<T>[]>();
  readonly #epochStart: (version: Version) => Version | undefined;

  /** `epochStart`: the last version before the epoch of the given version. */
  constructor(epochStart: (version: Version) => Version | undefined) {
    this.#epochStart = epochStart;
  }

  put(key: string, version: Version, value: T): void {
    const changes = this.#changes.get(key);
    if (changes === undefined) this.#changes.set(key, [{ version, value }]);
    else changes.push({ version, value });
  }

  /** The value as of `version`; undefined if the key had none. */
  at(key: string, version: Version): T | undefined {
    const changes = this.#changes.get(key) ?? [];
    let last: Change<T> | undefined;
    for (const change of changes) {
      if (!this.isBefore(change.version, version)) continue;
      if (last === undefined || change.version.sequence > last.version.sequence) last = change;
    }
    return last?.value;
  }

  /** Whether `version` is an ancestor of `of`, or equal to it. */
  isBefore(version: Version, of: Version): boolean {
    let at = of;
    while (at.epoch > version.epoch) {
      const previous = this.#epochStart(at);
      if (previous === undefined) return false;
      at = previous;
    }
    return at.epoch === version.epoch && version.sequence <= at.sequence;
  }
}
