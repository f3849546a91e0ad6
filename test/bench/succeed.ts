import { run } from "../e2e/cloud.ts";

const MS_MAX = 1_800_000;

/** Runs a program that must succeed. @returns what it printed */
export async function succeed(command: string, args: readonly string[]): Promise<string> {
  const ran = await run(command, args, { timeoutMs: MS_MAX });
  if (ran.code !== 0) throw new Error(`${command} ${args.join(" ")}: exit ${ran.code}: ${ran.stderr}`);
  return ran.stdout;
}

/**
 * Runs a shell's command in a directory, with `args` as its "$@". The shell goes there, not spawn: that waits for the child's
 * chdir in this thread, where the WAN's proxy is, and nothing would pass between the regions for seconds.
 */
export async function succeedIn(directory: string, command: string, args: readonly string[] = []): Promise<string> {
  const script = `cd "$1"; shift; ${command}`;
  return await succeed("bash", ["-euo", "pipefail", "-c", script, "bash", directory, ...args]);
}
