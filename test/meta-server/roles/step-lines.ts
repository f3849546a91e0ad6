import type { CommandOf } from "../../../core/commands.ts";
import { type EpochCode, epochNumber, epochRegion } from "../../../core/ids.ts";
import type { Action, Step } from "../../../meta-server/roles/epochs/rules.ts";

function beginningOf(command: CommandOf<"beginEpoch">): string {
  return command.how === "resumed" ? `resumed ${command.declined.sequence}` : command.how;
}

/** An action in a few words, e.g. "say: …" or "begin 3@0 sealed" (epoch 3, of region 0). */
function lineOf(action: Action): string {
  const epoch = (code: EpochCode) => `${epochNumber(code)}@${epochRegion(code)}`;
  switch (action.do) {
    case "say":
      return `say: ${action.message}`;
    case "log":
      return `${action.level}: ${action.text}`;
    case "noteFence":
      return action.isAbandoned ? "fence abandoned" : "fence begun";
    case "unclear":
      return `unclear for ${epoch(action.laterEpoch)}`;
    case "fence":
      return `fence ${epoch(action.epoch)}`;
    case "askTarget":
    case "askToDecline":
      return `${action.do} ${action.to}`;
    case "propose": {
      const { command } = action;
      const what =
        command.kind === "beginEpoch" ? `begin ${epoch(command.epoch)} ${beginningOf(command)}` : command.kind;
      return [what, ...linesOf(action.taken).map((line) => `taken: ${line}`)].join("; ");
    }
    default:
      return action.do;
  }
}

/** The actions of a step, each in a line. */
export const linesOf = (step: Step) => step.map(lineOf);
