/** States what is always true; a throw here is a bug and stops the server before it can do harm. */
export function assert(condition: boolean, truth: string): asserts condition {
  if (!condition) throw new Error(`raft: violated: ${truth}`);
}
