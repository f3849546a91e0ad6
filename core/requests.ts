import type { OutcomesPage, SessionRecord } from "./codec/records.ts";
import type { Stamp } from "./commands.ts";
import type { SessionId } from "./ids.ts";
import type { Tree } from "./tree.ts";

/**
 * Exactly-once execution: a session's outcomes are kept by request number until the client reports, by the low water, that it
 * has received them (Ongaro's dissertation, section 6.3). A page holds the outcomes of this many requests, so that a
 * command rewrites one small record instead of the whole window.
 */
export const OUTCOMES_PAGE = 16;
/** A request number must be less than this above its session's low water; EINVAL otherwise. */
export const REQUEST_WINDOW_MAX = 4096;

/** Whether a request is neither below the low water, where outcomes have been dropped, nor beyond the window. */
export function isInWindow(session: SessionRecord, stamp: Stamp): boolean {
  const lowWater = Math.max(session.lowWater, stamp.lowWater);
  return stamp.request >= lowWater && stamp.request < lowWater + REQUEST_WINDOW_MAX;
}

/** The page for a request's outcome, which is `page[request % OUTCOMES_PAGE]` if there is one. */
export function outcomesPage(tree: Tree, stamp: Stamp): OutcomesPage {
  return tree.outcomes(stamp.session, Math.floor(stamp.request / OUTCOMES_PAGE)) ?? [];
}

/** Keeps an outcome, and drops the pages that are wholly below the low water. */
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

/** Drops all outcomes of a session that is closed. */
export function dropOutcomes(tree: Tree, id: SessionId, session: SessionRecord): void {
  dropPages(tree, id, session, Math.floor(session.highest / OUTCOMES_PAGE) + 1);
}

/** Drops the session's pages below `page`. Those that exist reach from the low water to the highest request. */
function dropPages(tree: Tree, id: SessionId, session: SessionRecord, page: number): void {
  const end = Math.min(page, Math.floor(session.highest / OUTCOMES_PAGE) + 1);
  for (let at = Math.floor(session.lowWater / OUTCOMES_PAGE); at < end; at++) tree.putOutcomes(id, at, undefined);
}
