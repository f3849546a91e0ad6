import type { ErrnoCode } from "../../../core/errno.ts";
import type { ByteString, Version } from "../../../core/ids.ts";
import type { ListedEntry } from "../metadata/metadata-reads.ts";

const PAGE_ENTRIES = 1_000;
/** Limit for a page that is read again: new entries may have come in between. */
const PAGE_ENTRIES_AGAIN = 4_000;
/** Places that are reserved for each page: more than it can have entries. */
const PAGE_SPAN = 4_096;
/** Pages in memory. The kernel goes back a few entries when a reply was full, and hardly ever further. */
const PAGES_KEPT = 4;

interface Page {
  readonly version: Version;
  readonly entries: readonly ListedEntry[];
  readonly end: boolean;
}

/** Reads the entries after a name. `at`: the version of the first page; the answer must not be older. */
type FetchPage = (after: ByteString, limit: number, at: Version | undefined) => Promise<Page | ErrnoCode>;

/** An entry, the version that it was read at, and the place after it. */
export type Placed = ListedEntry & { readonly at: Version; readonly next: number };

/**
 * The listing of one directory descriptor: names in order, page by page. A few pages are kept; of the others only the
 * name that each starts after, and they are read again when the reader goes back. A place is a page and an index in
 * that page, so it stays valid while entries are added and removed in earlier pages.
 */
export class DirectoryListing {
  #at: Version | undefined;
  /** By page: the name that it starts after. */
  #after: ByteString[] = ["" as ByteString];
  #ended = false;
  readonly #pages = new Map<number, Omit<Page, "end">>();

  /** Starts again at the beginning, with the directory as it is then (rewinddir(3)). */
  rewind(): void {
    this.#at = undefined;
    this.#after = ["" as ByteString];
    this.#ended = false;
    this.#pages.clear();
  }

  /** Up to `limit` entries from a place on; an empty array is the end. */
  async from(place: number, limit: number, fetch: FetchPage): Promise<readonly Placed[] | ErrnoCode> {
    let first = place % PAGE_SPAN;
    for (let index = Math.floor(place / PAGE_SPAN); ; index += 1) {
      const page = await this.#page(index, fetch);
      if (page === undefined) return [];
      if (typeof page === "string") return page;
      const { entries, version: at } = page;
      if (first < entries.length) {
        const next = (i: number) => (i + 1 < entries.length ? index * PAGE_SPAN + i + 1 : (index + 1) * PAGE_SPAN);
        return entries.slice(first, first + limit).map((entry, i) => ({ ...entry, at, next: next(first + i) }));
      }
      first = 0;
    }
  }

  /** Undefined after the last page. */
  async #page(index: number, fetch: FetchPage): Promise<Omit<Page, "end"> | ErrnoCode | undefined> {
    for (;;) {
      const kept = this.#pages.get(index);
      if (kept !== undefined) return kept;
      const last = this.#after.length - 1;
      if (index > last && this.#ended) return undefined;
      const failed = await this.#load(Math.min(index, last), fetch);
      if (failed !== undefined) return failed;
    }
  }

  async #load(index: number, fetch: FetchPage): Promise<ErrnoCode | undefined> {
    const end = this.#after[index + 1];
    const page = await fetch(this.#after[index]!, end === undefined ? PAGE_ENTRIES : PAGE_ENTRIES_AGAIN, this.#at);
    if (typeof page === "string") return page;
    this.#at ??= page.version;
    const entries = end === undefined ? page.entries : page.entries.filter(({ name }) => name <= end);
    const last = entries.at(-1);
    if (index === this.#after.length - 1) {
      if (page.end || last === undefined) this.#ended = true;
      else this.#after.push(last.name);
    }
    this.#pages.delete(index);
    this.#pages.set(index, { version: page.version, entries });
    for (const [oldest] of this.#pages) {
      if (this.#pages.size <= PAGES_KEPT) break;
      this.#pages.delete(oldest);
    }
    return undefined;
  }
}
