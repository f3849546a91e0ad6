import type { EntryReply, OpenReply, Reply } from "../volume/handlers.ts";
import { type ListedEntry, putDirectory } from "./directory-listing.ts";
import { entry } from "./name-operations.ts";
import type { Context, Operation, Request } from "./operation.ts";
import {
  FOPEN_CACHE_DIR,
  FOPEN_KEEP_CACHE,
  FSYNC_FDATASYNC,
  O_DSYNC,
  OPEN_KILL_SUIDGID,
  READ_LOCKOWNER,
  RELEASE_FLOCK_UNLOCK,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
  WRITE_LOCKOWNER,
} from "./protocol.ts";
import { putEntry, putOpen, type ReplyWriter } from "./reply-writer.ts";
import type { RequestBody } from "./request-body.ts";

const nothing = { encode: () => undefined };

export const open: Operation<OpenReply> = {
  call({ handlers }, request, body) {
    const kill = (body.u32(4) & OPEN_KILL_SUIDGID) !== 0;
    return handlers.open(request, request.inode, body.u32(0), kill);
  },
  encode(out, reply) {
    putOpen(out, reply);
    return undefined;
  },
  undo: (context, request, reply) => abandon(context.handlers.release(request, request.inode, reply.handle, undefined)),
};

/** Ignores the result of a clean-up. */
function abandon(reply: Reply<true>): void {
  if (reply instanceof Promise) reply.catch(() => {});
}

export const create: Operation<{ entry: EntryReply; open: OpenReply }> = {
  call: ({ handlers }, request, body) =>
    handlers.create(request, request.inode, body.name(16), body.u32(4) & 0o7777, body.u32(8), body.u32(0)),
  encode(out, reply) {
    putEntry(out, reply.entry);
    putOpen(out, reply.open);
    return undefined;
  },
  holds: "names",
  undo(context, request, reply) {
    abandon(context.handlers.release(request, reply.entry.attributes.inode, reply.open.handle, undefined));
    entry.undo(context, request, reply.entry);
  },
};

export const read: Operation<Uint8Array | readonly Uint8Array[]> = {
  holds: "pages",
  call({ handlers }, request, body) {
    request.sizeBytes = body.u32(16);
    request.direct = (body.u32(20) & READ_LOCKOWNER) !== 0;
    return handlers.read(request, request.inode, body.u64(0), body.u64(8), request.sizeBytes, request.direct);
  },
  encode(out, data, { sizeBytes }) {
    const bytes = out.data(data instanceof Uint8Array ? [data] : data);
    if (bytes > sizeBytes) throw new RangeError(`a read of ${sizeBytes} bytes was answered with ${bytes}`);
    return undefined;
  },
};

export const WRITE_IN_BYTES = 40;

export const write: Operation<number> = {
  holds: "pages",
  call({ handlers }, request, body) {
    const data = body.bytes(WRITE_IN_BYTES, body.u32(16));
    const flags = body.u32(20);
    request.direct = (flags & WRITE_LOCKOWNER) !== 0;
    return handlers.write(request, request.inode, body.u64(0), body.u64(8), data, {
      killPrivileges: (flags & WRITE_KILL_SUIDGID) !== 0,
      writeback: (flags & WRITE_CACHE) !== 0,
      direct: request.direct,
      durable: request.direct && (body.u32(32) & O_DSYNC) !== 0,
    });
  },
  encode(out, taken) {
    out.u32(taken);
    out.u32(0);
    return undefined;
  },
};

export const flush: Operation<true> = {
  call: ({ handlers }, request, body) => handlers.flush(request, request.inode, body.u64(0), body.token(16)),
  ...nothing,
};

export const release: Operation<true> = {
  call({ handlers }, request, body) {
    const flockOwner = (body.u32(12) & RELEASE_FLOCK_UNLOCK) !== 0 ? body.token(16) : undefined;
    return handlers.release(request, request.inode, body.u64(0), flockOwner);
  },
  ...nothing,
};

export const fsync: Operation<true> = {
  call: ({ handlers }, request, body) =>
    handlers.fsync(request, request.inode, body.u64(0), (body.u32(8) & FSYNC_FDATASYNC) !== 0),
  ...nothing,
};

export const fallocate: Operation<true> = {
  call: ({ handlers }, request, body) =>
    handlers.fallocate(request, request.inode, body.u64(0), body.u32(24), body.u64(8), body.u64(16)),
  ...nothing,
};

export const lseek: Operation<number> = {
  call: ({ handlers }, request, body) => handlers.lseek(request, request.inode, body.u64(0), body.u64(8), body.u32(16)),
  encode(out, offset) {
    out.u64(offset);
    return undefined;
  },
};

export const opendir: Operation<OpenReply> = {
  call: ({ handlers }, request) => handlers.opendir(request, request.inode),
  encode(out, reply) {
    putOpen(out, reply, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
    return undefined;
  },
  undo: (context, request, reply) => abandon(context.handlers.releasedir(request, request.inode, reply.handle)),
};

function list(context: Context, request: Request, body: RequestBody, plus: boolean): Reply<readonly ListedEntry[]> {
  request.sizeBytes = body.u32(16);
  return context.handlers.readdir(request, request.inode, body.u64(0), body.u64(8), plus);
}

export const readdir: Operation<readonly ListedEntry[]> = {
  holds: "names",
  call: (context, request, body) => list(context, request, body, false),
  encode(out: ReplyWriter, entries, request) {
    putDirectory(out, entries, request, false);
    return undefined;
  },
};

export const readdirplus: Operation<readonly ListedEntry[]> = {
  holds: "names",
  call: (context, request, body) => list(context, request, body, true),
  encode(out: ReplyWriter, entries, request) {
    putDirectory(out, entries, request, true);
    return undefined;
  },
  undo(context, { entriesPut }, entries) {
    for (const { entry } of entries.slice(0, entriesPut)) {
      if (entry !== undefined) context.handlers.forget(entry.attributes.inode, 1);
    }
  },
};

export const releasedir: Operation<true> = {
  call: ({ handlers }, request, body) => handlers.releasedir(request, request.inode, body.u64(0)),
  ...nothing,
};

export const fsyncdir: Operation<true> = {
  holds: "names",
  call: ({ handlers }, request, body) => handlers.fsyncdir(request, request.inode, body.u64(0)),
  ...nothing,
};
