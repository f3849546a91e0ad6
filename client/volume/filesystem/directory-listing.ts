import type { ErrnoCode } from "../../../core/errno.ts";
import type { ByteString, Version } from "../../../core/ids.ts";
import type { ListedEntry } from "../metadata/metadata-reads.ts";

const PAGE_ENTRIES = 1_000;
/** Of a page that is read again: as many, and those that have come among them. */
const PAGE_ENTRIES_AGAIN = 4_000;
/** Numbers a page's entries have room for: more than it can ever have. */
const PAGE_SPAN = 4_096;
/** Kept in memory. The kernel goes back a little, when what it was given did not fit; hardly ever farther. */
const PAGES_KEPT = 4;

interface Page {
  readonly version: Version;
  readonly entries: readonly ListedEntry[];
  readonly end: boolean;
}

/** Asks for the entries after a name; `at`: no older than the listing's first page. */
type FetchPage = (after: ByteString, limit: number, at: Version | undefined) => Promise<Page | ErrnoCode>;

/** An entry, and where the listing goes on after it. */
export type Placed = ListedEntry & { readonly next: number };

/**
 * What one descriptor lists: the directory's names in order, page by page, of which a few are kept. Of the others it keeps
 * the name that each begins after: one goes back to them by reading them again. A place is a page and a number in it, so
 * that it stays what it is while entries come and go before it.
 */
export class DirectoryListing {
  #at: Version | undefined;
  /** The name that each page known so far comes after. */
  #after: ByteString[] = ["" as ByteString];
  #ended = false;
  readonly #pages = new Map<number, readonly ListedEntry[]>();

  /** From the beginning, as the directory is then. */
  rewind(): void {
    this.#at = undefined;
    this.#after = ["" as ByteString];
    this.#ended = false;
    this.#pages.clear();
  }

  /** Up to `limit` entries from a place on: [] at the end. */
  async from(place: number, limit: number, fetch: FetchPage): Promise<readonly Placed[] | ErrnoCode> {
    let first = place % PAGE_SPAN;
    for (let index = Math.floor(place / PAGE_SPAN); ; index += 1) {
      const page = await this.#page(index, fetch);
      if (page === undefined) return [];
      if (typeof page === "string") return page;
      if (first < page.length) {
        const next = (i: number) => (i + 1 < page.length ? index * PAGE_SPAN + i + 1 : (index + 1) * PAGE_SPAN);
        return page.slice(first, first + limit).map((entry, i) => ({ ...entry, next: next(first + i) }));
      }
      first = 0;
    }
  }

  /** undefined: there is none. */
  async #page(index: number, fetch: FetchPage): Promise<readonly ListedEntry[] | ErrnoCode | undefined> {
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
    this.#pages.set(index, entries);
    for (const [oldest] of this.#pages) {
      if (this.#pages.size <= PAGES_KEPT) break;
      this.#pages.delete(oldest);
    }
    return undefined;
  }
}
