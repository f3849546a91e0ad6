import { Command, CommanderError } from "commander";
import { UserError } from "../base/user-error.ts";
import { addAgent } from "./commands/agent.ts";
import { addDemo } from "./commands/demo.ts";
import { addInfo } from "./commands/info.ts";
import { addMember } from "./commands/member.ts";
import { addMeta } from "./commands/meta.ts";
import { addMount } from "./commands/mount.ts";
import { addPromote } from "./commands/promote.ts";
import { addStatus } from "./commands/status.ts";
import { addSwitchover } from "./commands/switchover.ts";
import { addUmount } from "./commands/umount.ts";
import { addUp } from "./commands/up.ts";
import { addWait } from "./commands/wait.ts";

const program = new Command("mirrorfs")
  .description("one POSIX volume, mounted in several clouds")
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`mirrorfs: ${text.replace(/^error: /, "")}`) })
  .showSuggestionAfterError(false)
  .helpCommand(false);

for (const add of [addUp, addDemo]) add(program.commandsGroup("On this machine:"));
for (const add of [addMeta, addAgent, addMount, addUmount]) add(program.commandsGroup("Processes:"));
for (const add of [addStatus, addInfo, addWait]) add(program.commandsGroup("Looking:"));
for (const add of [addSwitchover, addPromote, addMember]) add(program.commandsGroup("Roles and members:"));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
  if (error instanceof UserError) await tellParent({ failed: error.message, exitCode: error.exitCode });
}
// A command that is done is done: no connection that lingers holds it up.
process.exit();

/** Who started this process in the background (mount) shows the line as its own. */
async function tellParent(message: { failed: string; exitCode: number }): Promise<void> {
  if (process.send !== undefined) await new Promise((sent) => process.send!(message, undefined, undefined, sent));
}

/** One line for what a user can mend, all there is to know for a bug. @returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    process.stderr.write(`mirrorfs: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`mirrorfs: ${error instanceof Error ? error.stack : error}\n`);
  return 1;
}
