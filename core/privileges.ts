import type { Attributes } from "./commands.ts";
import type { Context } from "./context.ts";
import type { ByteString } from "./ids.ts";

const SET_UID = 0o4000;
const SET_GID = 0o2000;
const GROUP_EXECUTE = 0o010;
const CAPABILITY = "security.capability" as ByteString;

/** The mode after a write or chown by an unprivileged process: no set-uid; no set-gid if the group may execute (chown(2)). */
export function withoutPrivileges(mode: number): number {
  const withoutUid = mode & ~SET_UID;
  return mode & GROUP_EXECUTE ? withoutUid & ~SET_GID : withoutUid;
}

/** Removes a file's capabilities (capabilities(7)): every change of content or owner does, also one by root. */
export function withoutCapability(context: Context, attributes: Attributes): Attributes {
  if (attributes.xattrs === 0) return attributes;
  if (context.tree.xattr(attributes.inode, CAPABILITY) === undefined) return attributes;
  context.tree.putXattr(attributes.inode, CAPABILITY, undefined);
  return { ...attributes, xattrs: attributes.xattrs - 1 };
}
