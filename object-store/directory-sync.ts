import { open } from "node:fs/promises";

interface Turn {
  readonly running: Promise<void>;
  next: Promise<void> | undefined;
}

/** fsync of directories, one at a time each: all that ask while one runs share the next. */
export class DirectorySync {
  readonly #turns = new Map<string, Turn>();

  /** Returns when all names that were in the directory at the call are durable. */
  async sync(directory: string): Promise<void> {
    const turn = this.#turns.get(directory);
    if (turn === undefined) return this.#begin(directory);
    // The running one may have begun before our name was there.
    turn.next ??= turn.running.catch(() => {}).then(() => this.#begin(directory));
    return turn.next;
  }

  #begin(directory: string): Promise<void> {
    const turn: Turn = { running: fsync(directory), next: undefined };
    this.#turns.set(directory, turn);
    const end = () => {
      if (this.#turns.get(directory) === turn && turn.next === undefined) this.#turns.delete(directory);
    };
    turn.running.then(end, end);
    return turn.running;
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
