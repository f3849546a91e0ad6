import { execFileSync } from "node:child_process";
import { mountEntryAt } from "../base/mount-table.ts";

/** Whether something is mounted at this very directory. Reads the kernel's table only: the mount itself might hang. */
export function isMounted(dir: string): boolean {
  return mountEntryAt(dir) !== undefined;
}

/** Detaches what a dead process left mounted, or what is still in use. */
export function unmountLazily(dir: string): void {
  if (!isMounted(dir)) return;
  execFileSync("umount", ["-l", dir], { stdio: "ignore" });
}
