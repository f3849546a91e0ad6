import { link, mkdir, rmdir } from "node:fs/promises";
import path from "node:path";
import { PRIVATE_DIRECTORY } from "../base/private-files.ts";
import { DirectorySync } from "./directory-sync.ts";

/** Names files in a directory bucket, durably; makes the directories above them, and removes those that become empty. */
export class FileNames {
  readonly #root: string;
  readonly #directories = new DirectorySync();
  /** The directories that are being made: each until its name is durable. */
  readonly #making = new Map<string, Promise<void>>();

  constructor(root: string) {
    this.#root = root;
  }

  /**
   * Gives a file its name; unlike a rename, it never replaces another file. Durable after `sync`.
   * @throws the system's EEXIST when the name is taken.
   */
  async link(temporary: string, target: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#makeParents(target);
        return await link(temporary, target);
      } catch (error) {
        // A delete removed the empty directory between the two steps.
        if (!hasCode(error, "ENOENT") || tries === 5) throw error;
      }
    }
  }

  /** Makes the name of a file durable. */
  async sync(target: string): Promise<void> {
    await this.#directories.sync(path.dirname(target));
  }

  /** Removes the directories above a deleted file that are empty now. */
  async removeEmptyParents(target: string): Promise<void> {
    for (let parent = path.dirname(target); parent !== this.#root; parent = path.dirname(parent)) {
      try {
        await rmdir(parent);
      } catch {
        return; // not empty
      }
    }
  }

  /** Makes the directories above a file, and waits until the names of those that others are making now are durable. */
  async #makeParents(target: string): Promise<void> {
    const parent = path.dirname(target);
    if (parent === this.#root) return;
    let making = this.#making.get(parent);
    if (making === undefined) {
      making = this.#makeDirectory(parent).finally(() => this.#making.delete(parent));
      this.#making.set(parent, making);
    }
    await making;
    for (let above = path.dirname(parent); above !== this.#root; above = path.dirname(above)) {
      await this.#making.get(above);
    }
  }

  /** Makes a directory, if it is missing, durably: each new name is synced in the directory that holds it. */
  async #makeDirectory(directory: string): Promise<void> {
    try {
      await mkdir(directory, PRIVATE_DIRECTORY);
    } catch (error) {
      if (hasCode(error, "EEXIST")) return;
      if (!hasCode(error, "ENOENT")) throw error;
      await this.#makeParents(directory);
      await mkdir(directory, PRIVATE_DIRECTORY).catch((second) => {
        if (!hasCode(second, "EEXIST")) throw second;
      });
    }
    await this.#directories.sync(path.dirname(directory));
  }
}

/** Whether a system error has one of these codes ("ENOENT"). */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? "");
}
