import type { ErrnoCode } from "../../core/errno.ts";
import { type ByteString, NAME_BYTES_MAX } from "../../core/ids.ts";
import type { AttributesReply, LockRange, SetAttributes, StatFsReply } from "../volume/handlers.ts";
import type { Operation, Request } from "./operation.ts";
import { FATTR, GETATTR_FH, LK_FLOCK, LOCK_MODES } from "./protocol.ts";
import { putAttributesReply, putLock, putStatFs, type ReplyWriter } from "./reply-writer.ts";
import type { RequestBody } from "./request-body.ts";

const nothing = { encode: () => undefined };

const attributes = {
  encode(out: ReplyWriter, reply: AttributesReply) {
    putAttributesReply(out, reply);
    return undefined;
  },
};

export const getattr: Operation<AttributesReply> = {
  call({ handlers }, request, body) {
    const handle = (body.u32(0) & GETATTR_FH) !== 0 ? body.u64(8) : undefined;
    return handlers.getattr(request, request.inode, handle);
  },
  ...attributes,
};

export const setattr: Operation<AttributesReply> = {
  holds: "names",
  call: ({ handlers }, request, body) => handlers.setattr(request, request.inode, decodeChanges(body)),
  ...attributes,
};

/** struct fuse_setattr_in. */
function decodeChanges(body: RequestBody): SetAttributes {
  const valid = body.u32(0);
  const has = (flag: number) => (valid & flag) !== 0;
  return {
    ...(has(FATTR.MODE) && { mode: body.u32(68) & 0o7777 }),
    ...(has(FATTR.UID) && { uid: body.u32(76) }),
    ...(has(FATTR.GID) && { gid: body.u32(80) }),
    ...(has(FATTR.SIZE) && { size: body.u64(16) }),
    ...(has(FATTR.ATIME) && { atime: has(FATTR.ATIME_NOW) ? "now" : body.time(32, 56) }),
    ...(has(FATTR.MTIME) && { mtime: has(FATTR.MTIME_NOW) ? "now" : body.time(40, 60) }),
    ...(has(FATTR.CTIME) && { ctime: body.time(48, 64) }),
    ...(has(FATTR.FH) && { handle: body.u64(8) }),
    ...(has(FATTR.KILL_SUIDGID) && { killPrivileges: true }),
  };
}

export const statfs: Operation<StatFsReply> = {
  call: ({ handlers }, request) => handlers.statfs(request),
  encode(out, reply) {
    putStatFs(out, reply, NAME_BYTES_MAX);
    return undefined;
  },
};

/** A value of unknown size. With a size of 0 only its length is asked for (struct fuse_getxattr_out; getxattr(2)). */
function putSized(out: ReplyWriter, value: Uint8Array, { sizeBytes }: Request): ErrnoCode | undefined {
  if (sizeBytes === 0) {
    out.u32(value.length);
    out.u32(0);
    return undefined;
  }
  if (value.length > sizeBytes) return "ERANGE";
  out.data([value]);
  return undefined;
}

/** There are no ACLs yet, and no handler is called for them: `cp -a` asks for the ACL of nearly every file. */
function isAcl(name: ByteString): boolean {
  return name.startsWith("system.posix_acl_");
}

export const getxattr: Operation<Uint8Array> = {
  call({ handlers }, request, body) {
    request.sizeBytes = body.u32(0);
    const name = body.name(8);
    return isAcl(name) ? "EOPNOTSUPP" : handlers.getxattr(request, request.inode, name);
  },
  encode: putSized,
};

export const listxattr: Operation<readonly ByteString[]> = {
  call({ handlers }, request, body) {
    request.sizeBytes = body.u32(0);
    return handlers.listxattr(request, request.inode);
  },
  encode: (out, names, request) =>
    putSized(out, Buffer.from(names.map((name) => `${name}\0`).join(""), "latin1"), request),
};

export const setxattr: Operation<true> = {
  call({ handlers }, request, body) {
    const name = body.name(8);
    if (isAcl(name)) return "EOPNOTSUPP";
    const value = Buffer.from(body.bytes(8 + name.length + 1, body.u32(0)));
    return handlers.setxattr(request, request.inode, name, value, body.u32(4));
  },
  holds: "names",
  ...nothing,
};

export const removexattr: Operation<true> = {
  call({ handlers }, request, body) {
    const name = body.name(0);
    return isAcl(name) ? "EOPNOTSUPP" : handlers.removexattr(request, request.inode, name);
  },
  holds: "names",
  ...nothing,
};

/** struct fuse_file_lock in fuse_lk_in. */
function decodeLock(body: RequestBody): LockRange | undefined {
  const mode = LOCK_MODES[body.u32(32)];
  return mode && { mode, start: body.u64(16), end: body.u64(24), pid: body.u32(36) };
}

export const getlk: Operation<LockRange> = {
  call({ handlers }, request, body) {
    const range = decodeLock(body);
    if (range === undefined) return "EINVAL";
    return handlers.getlk(request, request.inode, body.u64(0), body.token(8), range);
  },
  encode(out, lock) {
    putLock(out, lock);
    return undefined;
  },
};

function lockOperation(wait: boolean): Operation<true> {
  return {
    call({ handlers }, request, body) {
      const range = decodeLock(body);
      if (range === undefined) return "EINVAL";
      const flock = (body.u32(40) & LK_FLOCK) !== 0;
      return handlers.setlk(request, request.inode, body.u64(0), body.token(8), range, { wait, flock });
    },
    ...nothing,
    ...(wait && { blocking: true as const }),
  };
}

export const setlk = lockOperation(false);
export const setlkw = lockOperation(true);
