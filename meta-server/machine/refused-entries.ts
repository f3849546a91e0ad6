import { decodeRecord, encodeRecord, refusedEntryKey } from "./local-keys.ts";

/**
 * The log entries that apply refused, for whatever reason. The changelog is the log without them: its reader looks here
 * instead of judging again, since it does not know all that apply knew. Kept in the store, in the turn that applies the
 * entry, for as long as the log may be read from there on.
 */
export class RefusedEntries {
  /** Ascending: entries are applied in order. */
  #indexes = new Set<number>();

  async load(pages: AsyncIterable<readonly (readonly [string, Uint8Array])[]>): Promise<void> {
    this.#indexes = new Set();
    for await (const page of pages) {
      for (const [, value] of page) this.#indexes.add(decodeRecord<number>(value));
    }
  }

  has(index: number): boolean {
    return this.#indexes.has(index);
  }

  add(index: number, put: (key: string, value: Uint8Array) => void): void {
    this.#indexes.add(index);
    put(refusedEntryKey(index), encodeRecord(index));
  }

  /** Forgets the entries below an index: the log is read only from there on. */
  dropBelow(from: number, put: (key: string, value: undefined) => void): void {
    for (const index of this.#indexes) {
      if (index >= from) return;
      this.#indexes.delete(index);
      put(refusedEntryKey(index), undefined);
    }
  }
}
