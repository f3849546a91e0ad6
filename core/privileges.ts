import type { Attributes } from "./commands.ts";
import type { Context } from "./context.ts";
import type { ByteString } from "./ids.ts";

const SET_UID = 0o4000;
const SET_GID = 0o2000;
const GROUP_EXECUTE = 0o010;
const CAPABILITY = "security.capability" as ByteString;

/** A mode after a change by somebody without privilege: no set-uid; no set-gid where the group may execute. */
export function withoutPrivileges(mode: number): number {
  const withoutUid = mode & ~SET_UID;
  return mode & GROUP_EXECUTE ? withoutUid & ~SET_GID : withoutUid;
}

/** A file whose content or owner changes loses its capabilities (capabilities(7)), whoever changes it. */
export function withoutCapability(context: Context, attributes: Attributes): Attributes {
  if (attributes.xattrs === 0) return attributes;
  if (context.tree.xattr(attributes.inode, CAPABILITY) === undefined) return attributes;
  context.tree.putXattr(attributes.inode, CAPABILITY, undefined);
  return { ...attributes, xattrs: attributes.xattrs - 1 };
}
