import { realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type MountEntry, ownMounts } from "../base/mount-table.ts";
import { UserError } from "../base/user-error.ts";

/** What a PATH argument names. */
export interface Place {
  /** In the volume, from "/". */
  readonly path: string;
  /** The mount that the argument is below; undefined when it is a path of the volume itself. */
  readonly mount: MountEntry | undefined;
}

/**
 * Resolves a PATH argument: a path below a mount of mirrorfs, or else a path of the volume, from "/". A symlink as its last
 * part is not followed. Only directories of a mount are looked up, never a file.
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
  if (mount !== undefined) return { path: absolute.slice(mount.mountPoint.length) || "/", mount };
  if (argument.startsWith("/")) return { path: resolve(argument), mount: undefined };
  throw new UserError(
    `${argument}: not below a mount of mirrorfs: give such a path, or a path of the volume, which begins with '/'`,
    2,
  );
}

function withRealParent(path: string): string {
  try {
    return path === "/" ? path : join(realpathSync(dirname(path)), path.slice(dirname(path).length));
  } catch {
    return path;
  }
}
