import { readdirSync, readFileSync } from "node:fs";

/** Finds every other process whose arguments or environment contain a directory's name. @returns "PID COMMAND" each. */
export function processesNaming(dir: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => `${read(pid, "cmdline")}${read(pid, "environ")}`.includes(dir))
    .map((pid) => `${pid} ${read(pid, "cmdline").replaceAll("\0", " ").trim()}`);
}

/** Empty for a process that has just ended. */
function read(pid: string, what: "cmdline" | "environ"): string {
  try {
    return readFileSync(`/proc/${pid}/${what}`, "latin1");
  } catch {
    return "";
  }
}
