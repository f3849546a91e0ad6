import type { InodeKind } from "../../core/commands.ts";
import type { ByteString, Inode } from "../../core/ids.ts";
import type { AttributesReply, EntryReply, Reply, Result } from "../volume/handlers.ts";
import type { Context, Operation, Request } from "./operation.ts";
import { kindOf, RENAME_EXCHANGE, RENAME_NOREPLACE } from "./protocol.ts";
import { putEntry, putNoEntry, type ReplyWriter } from "./reply-writer.ts";

const NO_TARGET = "" as ByteString;
const PERMISSIONS = 0o7777;
const names = { holds: "names" as const };
const nothing = { encode: () => undefined, ...names };

export const entry = {
  encode(out: ReplyWriter, reply: EntryReply) {
    putEntry(out, reply);
    return undefined;
  },
  ...names,
  undo(context: Context, _request: Request, reply: EntryReply) {
    context.handlers.forget(reply.attributes.inode, 1);
  },
};

export const lookup: Operation<EntryReply | { absentMs: number }> = {
  call(context, request, body) {
    const name = body.name(0);
    if (name === "." || name === "..") return lookupSelf(context, request, name === "..");
    const { negativeEntryValidMs } = context;
    const result = context.handlers.lookup(request, request.inode, name);
    if (negativeEntryValidMs === 0) return result;
    const orAbsent = (found: Result<EntryReply>) => (found === "ENOENT" ? { absentMs: negativeEntryValidMs } : found);
    return result instanceof Promise ? result.then(orAbsent) : orAbsent(result);
  },
  encode(out, reply) {
    if ("absentMs" in reply) putNoEntry(out, reply.absentMs);
    else putEntry(out, reply);
    return undefined;
  },
  ...names,
  undo(context, request, reply) {
    if (!("absentMs" in reply)) entry.undo(context, request, reply);
  },
};

/**
 * "." and "..": an inode by its number alone, or its parent, as file handles need it (EXPORT_SUPPORT;
 * open_by_handle_at(2)). The kernel asks only for an inode that it does not have, so that one without links is not open
 * here: its handle is stale.
 */
async function lookupSelf({ handlers }: Context, request: Request, parentOf: boolean): Promise<Result<EntryReply>> {
  const asEntry = (reply: Result<AttributesReply>) =>
    typeof reply === "string" ? reply : { ...reply, entryValidMs: 0 };
  const self = await handlers.getattr(request, request.inode, undefined);
  if (typeof self === "string") return self === "ENOENT" ? "ESTALE" : self;
  const { parent, inode, links } = self.attributes;
  if (links === 0) return "ESTALE";
  if (!parentOf) return asEntry(self);
  return asEntry(await handlers.getattr(request, parent === 0 ? inode : parent, undefined));
}

function make(
  context: Context,
  request: Request,
  name: ByteString,
  what: { kind: InodeKind; mode: number; umask?: number; device?: number; target?: ByteString },
): Reply<EntryReply> {
  return context.handlers.make(request, request.inode, name, { umask: 0, device: 0, target: NO_TARGET, ...what });
}

export const mknod: Operation<EntryReply> = {
  call(context, request, body) {
    const mode = body.u32(0);
    const kind = kindOf(mode);
    if (kind === undefined || kind === "directory" || kind === "symlink") return "EINVAL";
    return make(context, request, body.name(16), {
      kind,
      mode: mode & PERMISSIONS,
      umask: body.u32(8),
      device: body.u32(4),
    });
  },
  ...entry,
};

export const mkdir: Operation<EntryReply> = {
  call(context, request, body) {
    return make(context, request, body.name(8), {
      kind: "directory",
      mode: body.u32(0) & PERMISSIONS,
      umask: body.u32(4),
    });
  },
  ...entry,
};

export const symlink: Operation<EntryReply> = {
  call(context, request, body) {
    const name = body.name(0);
    return make(context, request, name, { kind: "symlink", mode: 0o777, target: body.name(name.length + 1) });
  },
  ...entry,
};

export const readlink: Operation<{ target: ByteString }> = {
  call: ({ handlers }, request) => handlers.readlink(request, request.inode),
  encode(out, { target }) {
    out.data([Buffer.from(target, "latin1")]);
    return undefined;
  },
};

export const link: Operation<EntryReply> = {
  call: ({ handlers }, request, body) => handlers.link(request, body.inode(0), request.inode, body.name(8)),
  ...entry,
};

export const unlink: Operation<true> = {
  call: ({ handlers }, request, body) => handlers.unlink(request, request.inode, body.name(0)),
  ...nothing,
};

export const rmdir: Operation<true> = {
  call: ({ handlers }, request, body) => handlers.rmdir(request, request.inode, body.name(0)),
  ...nothing,
};

export const rename: Operation<true> = {
  call: (context, request, body) =>
    move(context, request, body.inode(0), [body.name(8), body.name(9 + body.name(8).length)], 0),
  ...nothing,
};

export const rename2: Operation<true> = {
  call: (context, request, body) =>
    move(context, request, body.inode(0), [body.name(16), body.name(17 + body.name(16).length)], body.u32(8)),
  ...nothing,
};

const RENAME_MODES = new Map([
  [0, "replace"],
  [RENAME_NOREPLACE, "noreplace"],
  [RENAME_EXCHANGE, "exchange"],
] as const);

function move(
  { handlers }: Context,
  request: Request,
  newParent: Inode,
  [name, newName]: [ByteString, ByteString],
  flags: number,
): Reply<true> {
  const mode = RENAME_MODES.get(flags as 0);
  if (mode === undefined) return "EINVAL";
  request.secondInode = newParent;
  return handlers.rename(request, request.inode, name, newParent, newName, mode);
}
