import type { DirectoryEntryReply } from "../volume/handlers.ts";
import type { Request } from "./operation.ts";
import { formatOf } from "./protocol.ts";
import { putEntry, putNoEntry, type ReplyWriter } from "./reply-writer.ts";

const DIRENT_BYTES = 24;
const ENTRY_OUT_BYTES = 128;

export type ListedEntry = DirectoryEntryReply & { readonly nextOffset: number };

/**
 * struct fuse_dirent, or with `plus` struct fuse_direntplus, for as many entries as fit in the request's `sizeBytes`. The
 * kernel continues at the offset of the last one. Only an entry that was put counts as a lookup; `entriesPut` counts them.
 */
export function putDirectory(out: ReplyWriter, entries: readonly ListedEntry[], request: Request, plus: boolean): void {
  const fixed = DIRENT_BYTES + (plus ? ENTRY_OUT_BYTES : 0);
  for (const entry of entries) {
    const bytes = Math.ceil((fixed + entry.name.length) / 8) * 8;
    if (out.length + bytes > request.sizeBytes) return;
    request.entriesPut += 1;
    if (plus) {
      if (entry.entry === undefined) putNoEntry(out, 0);
      else putEntry(out, entry.entry);
    }
    out.u64(entry.inode);
    out.u64(entry.nextOffset);
    out.u32(entry.name.length);
    out.u32(formatOf(entry.kind) >>> 12);
    out.padded(entry.name, 8);
  }
}
