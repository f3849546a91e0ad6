import { realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type MountEntry, ownMounts } from "../base/mount-table.ts";
import { UserError } from "../base/user-error.ts";

/** Where a PATH argument leads: a path of the volume, from "/", and the mount it was found in, if any. */
export interface Place {
  readonly path: string;
  readonly mountPoint: string | undefined;
  /** The mount's source, as given to mount(8). */
  readonly source: string | undefined;
}

/**
 * A PATH is one inside a mount of mirrorfs, or else a path of the volume, from "/".
 * The last part is not followed when it is a symlink. Never asks the mount itself for more than its directories.
 * @throws UserError (exit 2) when it is neither.
 */
export function locate(argument: string, mounts = ownMounts()): Place {
  const absolute = withRealParent(resolve(argument));
  const mount = mounts
    .filter((it) => absolute === it.mountPoint || absolute.startsWith(`${it.mountPoint}/`))
    .reduce<MountEntry | undefined>(
      (best, it) => (it.mountPoint.length >= (best?.mountPoint.length ?? 0) ? it : best),
      undefined,
    );
  if (mount !== undefined)
    return { path: absolute.slice(mount.mountPoint.length) || "/", mountPoint: mount.mountPoint, source: mount.source };
  if (argument.startsWith("/")) return { path: resolve(argument), mountPoint: undefined, source: undefined };
  throw new UserError(`${argument}: is in no mount of mirrorfs, and a path of the volume begins with '/'`, 2);
}

function withRealParent(path: string): string {
  try {
    return path === "/" ? path : join(realpathSync(dirname(path)), path.slice(dirname(path).length));
  } catch {
    return path;
  }
}
