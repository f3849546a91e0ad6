import { ERRNO } from "../../core/errno.ts";
import * as attribute from "./attribute-operations.ts";
import * as file from "./file-operations.ts";
import * as names from "./name-operations.ts";
import type { Operation, OperationName } from "./operation.ts";
import { ENOTTY, OPCODE } from "./protocol.ts";

function refuse(errno: number): Operation<never> {
  return { call: () => "EIO", encode: () => undefined, refused: errno };
}

/**
 * The operation of each opcode. After ENOSYS the kernel does not send that opcode again but falls back: to READ and
 * WRITE (COPY_FILE_RANGE), to GETATTR (STATX), to "always ready" (POLL), to its own permission check (ACCESS).
 */
const TABLE: { readonly [K in OperationName]: Operation<unknown> } = {
  LOOKUP: names.lookup,
  GETATTR: attribute.getattr,
  SETATTR: attribute.setattr,
  READLINK: names.readlink,
  SYMLINK: names.symlink,
  MKNOD: names.mknod,
  MKDIR: names.mkdir,
  UNLINK: names.unlink,
  RMDIR: names.rmdir,
  RENAME: names.rename,
  LINK: names.link,
  OPEN: file.open,
  READ: file.read,
  WRITE: file.write,
  STATFS: attribute.statfs,
  RELEASE: file.release,
  FSYNC: file.fsync,
  SETXATTR: attribute.setxattr,
  GETXATTR: attribute.getxattr,
  LISTXATTR: attribute.listxattr,
  REMOVEXATTR: attribute.removexattr,
  FLUSH: file.flush,
  OPENDIR: file.opendir,
  READDIR: file.readdir,
  RELEASEDIR: file.releasedir,
  FSYNCDIR: file.fsyncdir,
  GETLK: attribute.getlk,
  SETLK: attribute.setlk,
  SETLKW: attribute.setlkw,
  ACCESS: refuse(ERRNO.ENOSYS),
  CREATE: file.create,
  BMAP: refuse(ERRNO.ENOSYS),
  IOCTL: refuse(ENOTTY),
  POLL: refuse(ERRNO.ENOSYS),
  FALLOCATE: file.fallocate,
  READDIRPLUS: file.readdirplus,
  RENAME2: names.rename2,
  LSEEK: file.lseek,
  COPY_FILE_RANGE: refuse(ERRNO.ENOSYS),
  SETUPMAPPING: refuse(ERRNO.ENOSYS),
  REMOVEMAPPING: refuse(ERRNO.ENOSYS),
  SYNCFS: { call: () => true, encode: () => undefined },
  TMPFILE: refuse(ERRNO.EOPNOTSUPP),
  STATX: refuse(ERRNO.ENOSYS),
  COPY_FILE_RANGE_64: refuse(ERRNO.ENOSYS),
};

const UNKNOWN = refuse(ERRNO.ENOSYS);
const BY_OPCODE: Operation<unknown>[] = [];
for (const [name, operation] of Object.entries(TABLE)) BY_OPCODE[OPCODE[name as OperationName]] = operation;

/** The operation of an opcode; ENOSYS for an opcode that this version of the protocol does not define. */
export function operationOf(opcode: number): Operation<unknown> {
  return BY_OPCODE[opcode] ?? UNKNOWN;
}
