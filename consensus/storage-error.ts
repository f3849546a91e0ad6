/**
 * The disk failed, or its contents are damaged. Nothing is written or acknowledged after it: LevelDB itself refuses later
 * writes, and the server stops with this message.
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
