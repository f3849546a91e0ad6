/** The changelog as the state knows it: by its epochs. */

import type { Version } from "./ids.ts";
import type { Tree } from "./tree.ts";

/** Whether this version is a past or the present version of this history. */
export function isOnChangelog(tree: Tree, { epoch, sequence }: Version): boolean {
  if (sequence === 0) return true;
  if (epoch === tree.version.epoch) {
    const first = tree.epoch(epoch)?.first ?? 1;
    return sequence >= first && sequence <= tree.version.sequence;
  }
  for (let later = tree.version.epoch; ; ) {
    const previous = tree.epoch(later)?.previous;
    if (previous === undefined || previous.epoch < epoch || previous.sequence === 0) return false;
    if (previous.epoch === epoch) return sequence <= previous.sequence && sequence >= (tree.epoch(epoch)?.first ?? 1);
    later = previous.epoch;
  }
}
