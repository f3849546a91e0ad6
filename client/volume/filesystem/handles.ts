import type { Version } from "../../../core/ids.ts";
import type { DirectoryListing } from "./directory-listing.ts";
import type { Node } from "./nodes.ts";
import type { ReadAhead } from "./read-ahead.ts";

/** Flags of open(2) (include/uapi/asm-generic/fcntl.h); these are the same on x86-64 and arm64. */
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
  /** The version that the open was answered at. Reads are no older. */
  readonly at: Version;
  readonly readAhead: ReadAhead;
  /** `FileWriter.errors` when this descriptor last reported an error, or was opened. */
  errorsReported: number;
  /** It held a lock in a session that expired: every further request through it is EIO. */
  broken: boolean;
}

export interface DirectoryHandle {
  readonly kind: "directory";
  readonly node: Node;
  readonly listing: DirectoryListing;
}

/** Open files and directories, by the file handle in the kernel's requests (`fh`). */
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
