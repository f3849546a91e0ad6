import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type MountEntry, mountEntryAt } from "../../base/mount-table.ts";
import { UserError } from "../../base/user-error.ts";

const STAT_TIMEOUT_MS = 5_000;
const DETACH_TIMEOUT_MS = 3_000;
const UMOUNT_TIMEOUT_MS = 5_000;
const DEAD_MOUNTS_MAX = 16;

/**
 * umount(8) of a mount that this process serves. By default umount looks at the mount first (stat and statfs, to learn its type).
 * These would be requests to this process, which may wait for metadata servers as long as a read may.
 */
export function umount(mountPoint: string, flags: readonly string[] = []): Promise<{ code: number; output: string }> {
  return run("umount", ["--no-canonicalize", ...flags, mountPoint], { timeoutMs: UMOUNT_TIMEOUT_MS });
}

/**
 * For a process that exits now, whatever the mount is doing: aborts the connection, which ends every wait in the kernel, and
 * detaches the mount. A mount that outlives its process answers every system call with ENOTCONN.
 */
export function detachAtExit(mountPoint: string, entry: MountEntry | undefined): void {
  if (entry === undefined || mountEntryAt(mountPoint)?.device !== entry.device) return;
  const args = ["--no-canonicalize", "--force", "--lazy", mountPoint];
  spawnSync("umount", args, { stdio: "ignore", timeout: DETACH_TIMEOUT_MS, killSignal: "SIGKILL" });
}

/**
 * Runs a program; answers its exit code and its output. Never rejects. -1: it could not be started, or was killed at
 * `timeoutMs`.
 */
export async function run(
  program: string,
  args: readonly string[],
  options: { fd?: number; timeoutMs?: number } = {},
): Promise<{ code: number; output: string }> {
  const stdio = ["ignore", "pipe", "pipe", ...(options.fd === undefined ? [] : [options.fd])] as const;
  const child = spawn(program, args, { stdio: [...stdio], env: { ...process.env, LC_ALL: "C" } });
  const output: Buffer[] = [];
  child.stdout?.on("data", (data: Buffer) => output.push(data));
  child.stderr?.on("data", (data: Buffer) => output.push(data));
  const ended = new Promise<number>((resolve) => {
    child.on("error", (error) => {
      output.push(Buffer.from(error.message));
      resolve(-1);
    });
    child.on("exit", (code) => resolve(code ?? -1));
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  const code = await ended;
  clearTimeout(timer);
  return { code, output: Buffer.concat(output).toString("utf8").trim() };
}

/**
 * Answers the absolute path to mount at, with symbolic links resolved. A mount whose process has died (ENOTCONN) is
 * unmounted first.
 * @throws UserError when nothing can be mounted there.
 */
export async function prepareMountPoint(path: string): Promise<string> {
  for (let dead = 0; dead <= DEAD_MOUNTS_MAX; dead++) {
    const state = await Promise.race([inspect(path), sleep(STAT_TIMEOUT_MS, "hangs" as const, { ref: false })]);
    switch (state) {
      case "dead": {
        const { code, output } = await run("umount", ["-l", path]);
        if (code !== 0) throw new UserError(`${path}: a dead mount is there and umount -l failed: ${output}`);
        break;
      }
      case "missing":
        throw new UserError(`mount point ${path} does not exist: make it with mkdir -p ${path}`);
      case "file":
        throw new UserError(`mount point ${path} is not a directory`);
      case "forbidden":
        throw new UserError(`mount point ${path} may not be read: mount as root`);
      case "full":
        throw new UserError(`mount point ${path} is not empty: choose an empty directory`);
      case "mounted":
        throw new UserError(`${path} is mounted already: unmount it first with umount ${path}`);
      case "hangs":
        throw new UserError(
          `mount point ${path} does not answer: remove the hanging mount with umount -f ${path}; umount -l ${path}`,
        );
      case "free":
        return fs.realpath(path);
    }
  }
  throw new UserError(`${path}: dead mounts reappear as fast as they are removed: is another process mounting there?`);
}

async function inspect(path: string) {
  try {
    if (!(await fs.stat(path)).isDirectory()) return "file";
    await fs.statfs(path); // always reaches the mount's process, unlike stat, which may be answered from a cache
    const real = await fs.realpath(path);
    const mounted = mountEntryAt(real);
    if (mounted?.fileSystem.startsWith("fuse")) return "mounted";
    return (await fs.readdir(real)).length === 0 ? "free" : "full";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return "missing";
    if (code === "ENOTDIR") return "file";
    if (code === "EACCES" || code === "EPERM") return "forbidden";
    if (code === "ENOTCONN" || code === "ECONNABORTED") return "dead";
    throw error;
  }
}
