/**
 * The disk failed or holds what it cannot hold. After one of these nothing more is written or acknowledged: LevelDB
 * refuses every later write by itself, and the server stops with this one line.
 */
export class StorageError extends Error {
  override readonly name = "StorageError";

  constructor(what: string, cause: unknown) {
    super(`${what}: ${reason(cause)}`, { cause });
  }
}

function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? `${cause.message} (${cause.cause.message})` : cause.message;
}
