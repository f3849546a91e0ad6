import type { OutcomesPage, SessionRecord } from "./codec/records.ts";
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

/** The page that a request's outcome is kept in; empty as yet, or `page[request % OUTCOMES_PAGE]`. */
export function outcomesPage(tree: Tree, stamp: Stamp): OutcomesPage {
  return tree.outcomes(stamp.session, Math.floor(stamp.request / OUTCOMES_PAGE)) ?? [];
}

/** Keeps an outcome in its page, and forgets those below the low water a page at a time. */
export function keepOutcome(tree: Tree, stamp: Stamp, page: OutcomesPage, outcome: Uint8Array): void {
  const session = tree.session(stamp.session)!;
  const lowWater = Math.max(session.lowWater, stamp.lowWater);
  const highest = Math.max(session.highest, stamp.request);
  if (lowWater !== session.lowWater || highest !== session.highest) {
    dropPages(tree, stamp.session, session, Math.floor(lowWater / OUTCOMES_PAGE));
    tree.putSession(stamp.session, { ...session, lowWater, highest });
  }
  const outcomes = page.slice();
  const place = stamp.request % OUTCOMES_PAGE;
  while (outcomes.length < place) outcomes.push(undefined);
  outcomes[place] = outcome;
  tree.putOutcomes(stamp.session, Math.floor(stamp.request / OUTCOMES_PAGE), outcomes);
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
