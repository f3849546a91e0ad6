import { Command, CommanderError, Help, type Option } from "commander";
import { UserError } from "../base/user-error.ts";
import { addAgent } from "./commands/agent.ts";
import { addDemo } from "./commands/demo.ts";
import { addFormat } from "./commands/format.ts";
import { addInfo } from "./commands/info.ts";
import { addMember } from "./commands/member.ts";
import { addMeta } from "./commands/meta.ts";
import { addMount } from "./commands/mount.ts";
import { addPromote } from "./commands/promote.ts";
import { addRegion } from "./commands/region.ts";
import { addStatus } from "./commands/status.ts";
import { addSwitchover } from "./commands/switchover.ts";
import { addUmount } from "./commands/umount.ts";
import { addUp } from "./commands/up.ts";
import { addUpgrade } from "./commands/upgrade.ts";
import { addWait } from "./commands/wait.ts";

const ABOUT =
  "One POSIX file system, mounted in several clouds. One region is the primary: it takes all changes. Every other region " +
  "is a mirror, with a copy of the metadata and of the data in its own bucket, and can become the primary.";

const AFTER = `
"mirrorfs COMMAND --help" describes a command. Commands on a volume read its
volume file: --config FILE, or the environment variable MIRRORFS_CONFIG.
Exit status: 0 success, 1 failure, 2 wrong usage or configuration.`;

const program = new Command("mirrorfs")
  .description(ABOUT)
  .addHelpText("after", AFTER)
  .configureHelp({ visibleOptions, optionDescription })
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`mirrorfs: ${text.replace(/^error: /, "")}`) })
  .showSuggestionAfterError(false)
  .helpCommand(false);

for (const add of [addUp, addDemo]) add(program.commandsGroup("Try it on this machine:"));
for (const add of [addMeta, addAgent, addMount, addUmount, addFormat]) add(program.commandsGroup("Run a region:"));
for (const add of [addStatus, addInfo, addWait]) add(program.commandsGroup("See how a volume is doing:"));
for (const add of [addSwitchover, addPromote, addRegion, addMember, addUpgrade])
  add(program.commandsGroup("Change the primary, a region's metadata servers, or the feature level:"));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
  if (error instanceof UserError) await notifyParent({ failed: error.message, exitCode: error.exitCode });
}
// Open connections must not keep a finished command running.
process.exit();

/** Required options first. */
function visibleOptions(this: Help, command: Command): Option[] {
  return Help.prototype.visibleOptions.call(this, command).sort((a, b) => Number(b.mandatory) - Number(a.mandatory));
}

function optionDescription(this: Help, option: Option): string {
  const text = Help.prototype.optionDescription.call(this, option);
  return option.mandatory ? `${text} (required)` : text;
}

/** For a process that `mount` started in the background: the parent prints the error as its own. */
async function notifyParent(message: { failed: string; exitCode: number }): Promise<void> {
  if (process.send !== undefined) await new Promise((sent) => process.send!(message, undefined, undefined, sent));
}

/** Prints one line for an error that the user can fix, the stack for a bug. @returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    process.stderr.write(`mirrorfs: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`mirrorfs: ${error instanceof Error ? error.stack : error}\n`);
  return 1;
}
