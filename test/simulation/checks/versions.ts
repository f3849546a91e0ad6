import type { Version } from "../../../core/ids.ts";

interface Change<T> {
  readonly version: Version;
  readonly value: T;
}

/** What a key held at each version of a history that may have parted: after a forced promotion there are two. */
export class Versions<T> {
  readonly #changes = new Map<string, Change<T>[]>();
  readonly #epochStart: (version: Version) => Version | undefined;

  /** `epochStart`: the last version before the epoch of the given one. */
  constructor(epochStart: (version: Version) => Version | undefined) {
    this.#epochStart = epochStart;
  }

  put(key: string, version: Version, value: T): void {
    const changes = this.#changes.get(key);
    if (changes === undefined) this.#changes.set(key, [{ version, value }]);
    else changes.push({ version, value });
  }

  /** `undefined` also when it had not been heard of yet. */
  at(key: string, version: Version): T | undefined {
    const changes = this.#changes.get(key) ?? [];
    let last: Change<T> | undefined;
    for (const change of changes) {
      if (!this.isBefore(change.version, version)) continue;
      if (last === undefined || change.version.sequence > last.version.sequence) last = change;
    }
    return last?.value;
  }

  /** Whether a version lies on the way to another, or is it. */
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
