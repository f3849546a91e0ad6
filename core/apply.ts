import { attributeHandlers } from "./attributes.ts";
import { decodeOutcome, encodeOutcome } from "./codec/values.ts";
import { COMMANDS, type Command, type CommandKind, type Outcome, type Stamp } from "./commands.ts";
import { type Context, fail, type Handler, type Handlers } from "./context.ts";
import { directoryHandlers } from "./directories.ts";
import { type Effects, EffectsBuilder } from "./effects.ts";
import { epochHandlers } from "./epochs.ts";
import { fileHandlers } from "./files.ts";
import type { Version } from "./ids.ts";
import { lockHandlers } from "./locks.ts";
import { reapHandlers } from "./reap.ts";
import { isInWindow, keepOutcome, OUTCOMES_PAGE, outcomesPage } from "./requests.ts";
import type { Position } from "./sequencer.ts";
import { sessionHandlers } from "./sessions.ts";
import type { Tree } from "./tree.ts";
import { xattrHandlers } from "./xattrs.ts";

const handlers: Handlers<CommandKind> = {
  ...epochHandlers,
  ...sessionHandlers,
  ...directoryHandlers,
  ...attributeHandlers,
  ...fileHandlers,
  ...xattrHandlers,
  ...lockHandlers,
  ...reapHandlers,
};

export interface AppliedCommand {
  readonly outcome: Outcome;
  /** The encoded outcome, as it is kept for retries and sent to the client. */
  readonly encoded: Uint8Array;
  readonly effects: Effects;
}

/** The changelog before a command (`previous`) and after it (`position`). */
export interface Step {
  readonly previous: Version;
  readonly position: Position;
}

/**
 * Applies one command. This is the only code that changes the tree; it is deterministic and synchronous. A command that
 * fails changes nothing but the version and the session's kept outcomes. A request that was executed before is not executed
 * again: its kept outcome is returned.
 *
 * Besides a command's own errors: NOSESSION when the volume does not know the session; EINVAL when the request's outcome has
 * been dropped already (it is below the low water), or its number is beyond the window (REQUEST_WINDOW_MAX).
 */
export function apply(tree: Tree, stamp: Stamp, command: Command, step: Step): AppliedCommand {
  const { version, sealedTo } = step.position;
  if (tree.volume !== undefined) tree.putVolume({ ...tree.volume, version, sealedTo });
  const effects = new EffectsBuilder(stamp.session);
  const context: Context = { tree, stamp, sequence: version.sequence, effects, ...step };
  if (stamp.session === 0 || !COMMANDS[command.kind].keepsOutcome) return answer(run(context, command), effects);

  const session = tree.session(stamp.session);
  if (session === undefined) return answer(fail("NOSESSION"), effects);
  if (!isInWindow(session, stamp)) return answer(fail("EINVAL"), effects);
  const page = outcomesPage(tree, stamp);
  const kept = page[stamp.request % OUTCOMES_PAGE];
  if (kept !== undefined) return { outcome: decodeOutcome(kept), encoded: kept, effects };
  const answered = answer(run(context, command), effects);
  keepOutcome(tree, stamp, page, answered.encoded);
  return answered;
}

function run(context: Context, command: Command): Outcome {
  return (handlers[command.kind] as Handler<CommandKind>)(context, command);
}

function answer(outcome: Outcome, effects: Effects): AppliedCommand {
  return { outcome, encoded: encodeOutcome(outcome), effects };
}
