import { readFileSync, realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
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
export function locate(argument: string, mounts = readMounts()): Place {
  const absolute = withRealParent(resolve(argument));
  const mount = mounts
    .filter((it) => absolute === it.mountPoint || absolute.startsWith(`${it.mountPoint}/`))
    .reduce<Mount | undefined>(
      (best, it) => (it.mountPoint.length >= (best?.mountPoint.length ?? 0) ? it : best),
      undefined,
    );
  if (mount !== undefined) return { path: absolute.slice(mount.mountPoint.length) || "/", ...mount };
  if (argument.startsWith("/")) return { path: resolve(argument), mountPoint: undefined, source: undefined };
  throw new UserError(`${argument}: is in no mount of mirrorfs, and a path of the volume begins with '/'`, 2);
}

interface Mount {
  readonly mountPoint: string;
  readonly source: string;
}

/** The mounts of mirrorfs that this process sees; in the order they were made. */
export function readMounts(text = readFileSync("/proc/self/mounts", "utf8")): readonly Mount[] {
  return text
    .split("\n")
    .map((line) => line.split(" "))
    .filter((fields) => fields[2] === "fuse.mirrorfs")
    .map(([source, mountPoint]) => ({ source: unescapeOctal(source!), mountPoint: unescapeOctal(mountPoint!) }));
}

/** Blanks and backslashes stand as \040 and the like in /proc/self/mounts (fstab(5)). */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function withRealParent(path: string): string {
  try {
    return path === "/" ? path : join(realpathSync(dirname(path)), path.slice(dirname(path).length));
  } catch {
    return path;
  }
}
