import { open } from "node:fs/promises";

interface Sync {
  readonly running: Promise<void>;
  next: Promise<void> | undefined;
}

/** fsync of directories, one at a time for each: all calls during one share the next. */
export class DirectorySync {
  readonly #syncs = new Map<string, Sync>();

  /** Resolves when all names that were in the directory at the call are durable. */
  async sync(directory: string): Promise<void> {
    const sync = this.#syncs.get(directory);
    if (sync === undefined) return this.#begin(directory);
    // The running fsync may have begun before the caller's name was in the directory.
    sync.next ??= sync.running.catch(() => {}).then(() => this.#begin(directory));
    return sync.next;
  }

  #begin(directory: string): Promise<void> {
    const sync: Sync = { running: fsync(directory), next: undefined };
    this.#syncs.set(directory, sync);
    const end = () => {
      if (this.#syncs.get(directory) === sync && sync.next === undefined) this.#syncs.delete(directory);
    };
    sync.running.then(end, end);
    return sync.running;
  }
}

async function fsync(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
