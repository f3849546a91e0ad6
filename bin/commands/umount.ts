import { spawn } from "node:child_process";
import { resolve } from "node:path";
import type { Command } from "commander";
import { ownMounts } from "../../base/mount-table.ts";
import { UserError } from "../../base/user-error.ts";

export function addUmount(program: Command): void {
  program
    .command("umount")
    .description("unmount a volume; what was written and closed is already stored")
    .argument("<dir>", "directory where it is mounted")
    .option("--lazy", "detach it at once even if files are open, and clean up when they are closed")
    .action(async (dir, options) => {
      const mountPoint = resolve(dir);
      if (!ownMounts().some((it) => it.mountPoint === mountPoint))
        throw new UserError(`${dir}: no mirrorfs is mounted there`);
      const [command, ...args] =
        process.getuid?.() === 0
          ? // Without --no-canonicalize umount looks at the mount first, and waits while its servers do not answer.
            ["umount", "--no-canonicalize", ...(options.lazy ? ["-l"] : [])]
          : ["fusermount3", "-u", ...(options.lazy ? ["-z"] : [])];
      const problem = await run(command!, [...args, mountPoint]);
      if (problem !== undefined) throw new UserError(`${dir}: ${problem}`);
    });
}

/** @returns the first line of the error output when the command failed, else undefined. */
async function run(command: string, args: readonly string[]): Promise<string | undefined> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  return await new Promise((done) => {
    child.once("error", (error) => done(error.message));
    child.once("close", (code) =>
      done(code === 0 ? undefined : (stderr.trim().split("\n")[0] ?? `${command} ended with ${code}`)),
    );
  });
}
