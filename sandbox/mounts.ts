import { execFileSync } from "node:child_process";
import { mountEntryAt } from "../base/mount-table.ts";

/** Whether `dir` is a mount point. Reads only the kernel's mount table: accessing the mount itself might hang. */
export function isMounted(dir: string): boolean {
  return mountEntryAt(dir) !== undefined;
}

/** Detaches a mount whose process has died or that is still in use. */
export function unmountLazily(dir: string): void {
  if (!isMounted(dir)) return;
  execFileSync("umount", ["-l", dir], { stdio: "ignore" });
}
