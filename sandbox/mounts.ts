import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** That something is mounted at this very directory. Asks the kernel's table, never the mount: that might hang. */
export function isMounted(dir: string): boolean {
  const written = dir.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[1] === written);
}

/** Detaches what a dead process left mounted, or what is still in use. */
export function unmountLazily(dir: string): void {
  if (!isMounted(dir)) return;
  execFileSync("umount", ["-l", dir], { stdio: "ignore" });
}
