import type { ByteString, Inode } from "../../../core/ids.ts";

/** A directory entry that the kernel may have cached. */
export interface KernelName {
  readonly parent: Inode;
  readonly name: ByteString;
  /** The kernel still has it, and looks it up before it uses it. */
  expired: boolean;
}

/** The names of one inode by key, as a Map. Nearly every inode has one name: only those with more have a Map. */
export class KernelNames {
  #key: string | undefined;
  #name: KernelName | undefined;
  #others: Map<string, KernelName> | undefined;

  get(key: string): KernelName | undefined {
    return key === this.#key ? this.#name : this.#others?.get(key);
  }

  set(key: string, name: KernelName): void {
    if (this.#key === undefined || this.#key === key) {
      this.#key = key;
      this.#name = name;
      return;
    }
    this.#others ??= new Map();
    this.#others.set(key, name);
  }

  delete(key: string): void {
    if (key !== this.#key) {
      this.#others?.delete(key);
      return;
    }
    const next = this.#others?.entries().next().value;
    [this.#key, this.#name] = next ?? [undefined, undefined];
    if (next !== undefined) this.#others?.delete(next[0]);
  }

  *entries(): Iterable<readonly [string, KernelName]> {
    if (this.#key === undefined) return;
    yield [this.#key, this.#name!];
    if (this.#others !== undefined) yield* this.#others;
  }

  *values(): Iterable<KernelName> {
    for (const [, name] of this.entries()) yield name;
  }
}
