import type { SessionRecord } from "./codec/records.ts";
import type { Stamp } from "./commands.ts";
import type { SessionId } from "./ids.ts";
import type { Tree } from "./tree.ts";

/**
 * Exactly once: a session's outcomes are kept by request number until the client says (low water) that it has had them.
 * They lie in pages of a few requests each, so that a command rewrites one small record and not the whole window.
 */
export const OUTCOMES_PAGE = 16;
/** A session may be this far ahead of its low water; a request beyond it is refused with EINVAL. */
export const REQUEST_WINDOW_MAX = 4096;

/** Whether a request may be executed or answered again: not forgotten already, and not beyond the window. */
export function isInWindow(session: SessionRecord, stamp: Stamp): boolean {
  const lowWater = Math.max(session.lowWater, stamp.lowWater);
  return stamp.request >= lowWater && stamp.request < lowWater + REQUEST_WINDOW_MAX;
}

/** The encoded outcome of a request that was executed before. */
export function keptOutcome(tree: Tree, stamp: Stamp): Uint8Array | undefined {
  return tree.outcomes(stamp.session, Math.floor(stamp.request / OUTCOMES_PAGE))?.[stamp.request % OUTCOMES_PAGE];
}

/** Keeps an outcome, and forgets those below the low water a page at a time. */
export function keepOutcome(tree: Tree, stamp: Stamp, outcome: Uint8Array): void {
  const session = tree.session(stamp.session)!;
  const lowWater = Math.max(session.lowWater, stamp.lowWater);
  const highest = Math.max(session.highest, stamp.request);
  if (lowWater !== session.lowWater || highest !== session.highest) {
    dropPages(tree, stamp.session, session, Math.floor(lowWater / OUTCOMES_PAGE));
    tree.putSession(stamp.session, { ...session, lowWater, highest });
  }
  const page = Math.floor(stamp.request / OUTCOMES_PAGE);
  const outcomes = (tree.outcomes(stamp.session, page) ?? []).slice();
  while (outcomes.length < stamp.request % OUTCOMES_PAGE) outcomes.push(undefined);
  outcomes[stamp.request % OUTCOMES_PAGE] = outcome;
  tree.putOutcomes(stamp.session, page, outcomes);
}

/** All of a session that ends. */
export function dropOutcomes(tree: Tree, id: SessionId, session: SessionRecord): void {
  dropPages(tree, id, session, Math.floor(session.highest / OUTCOMES_PAGE) + 1);
}

/** Of the pages that there are (from the low water to the highest request) those below `page`. */
function dropPages(tree: Tree, id: SessionId, session: SessionRecord, page: number): void {
  const end = Math.min(page, Math.floor(session.highest / OUTCOMES_PAGE) + 1);
  for (let at = Math.floor(session.lowWater / OUTCOMES_PAGE); at < end; at++) tree.putOutcomes(id, at, undefined);
}
