import type { Version } from "../../../core/ids.ts";
import type { DirectoryListing } from "./directory-listing.ts";
import type { Node } from "./nodes.ts";
import type { ReadAhead } from "./read-ahead.ts";

/** open(2)'s flags as the kernel gives them (x86-64 and arm64 agree on those used here, but for O_DIRECT). */
export const O_ACCMODE = 0o3;
export const O_RDONLY = 0;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;

export interface FileHandle {
  readonly kind: "file";
  readonly node: Node;
  readonly writable: boolean;
  readonly append: boolean;
  /** Reads are no older than the open. */
  readonly at: Version;
  readonly readAhead: ReadAhead;
  /** How many of the file's write errors this descriptor has reported, or are older than it. */
  errorsReported: number;
  /** Its state (a lock) is gone with a session: nothing more is done through it. */
  broken: boolean;
}

export interface DirectoryHandle {
  readonly kind: "directory";
  readonly node: Node;
  readonly listing: DirectoryListing;
}

/** What is open, by the number that the kernel gives back. */
export class HandleTable {
  readonly #handles = new Map<number, FileHandle | DirectoryHandle>();
  #next = 1;

  add(handle: FileHandle | DirectoryHandle): number {
    const number = this.#next++;
    this.#handles.set(number, handle);
    return number;
  }

  file(number: number): FileHandle | undefined {
    const handle = this.#handles.get(number);
    return handle?.kind === "file" ? handle : undefined;
  }

  directory(number: number): DirectoryHandle | undefined {
    const handle = this.#handles.get(number);
    return handle?.kind === "directory" ? handle : undefined;
  }

  remove(number: number): void {
    this.#handles.delete(number);
  }

  all(): Iterable<FileHandle | DirectoryHandle> {
    return this.#handles.values();
  }
}
