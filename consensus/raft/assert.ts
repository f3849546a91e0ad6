/** Checks an invariant. A violation is a bug, and the throw stops the server before it can do harm. */
export function assert(condition: boolean, truth: string): asserts condition {
  if (!condition) throw new Error(`raft: violated: ${truth}`);
}
