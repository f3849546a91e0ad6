import type { SessionId, Version } from "../../../core/ids.ts";
import { invariant } from "../environment/world.ts";
import { show, type VolumeChecker } from "./volume-checker.ts";

/** A lock that a client was granted and has not begun to release. */
interface Held {
  readonly client: string;
  readonly inode: number;
  /** Differs for each lock that is asked for. */
  readonly owner: string;
  readonly mode: "read" | "write";
  readonly session: number;
  readonly version: Version;
}

/** Checks that no two clients hold conflicting locks at the same time, by what they were told. */
export class LockChecker {
  readonly #volume: VolumeChecker;
  readonly #held = new Map<string, Held>();
  #added: Held[] = [];
  granted = 0;

  constructor(volume: VolumeChecker) {
    this.#volume = volume;
  }

  acquired(lock: Held): void {
    this.granted++;
    this.#held.set(lock.owner, lock);
    this.#added.push(lock);
  }

  /** Its client is about to release it. */
  released(owner: string): void {
    this.#held.delete(owner);
  }

  /** Compares the locks that were acquired since the last call with all others. */
  check(): void {
    for (const lock of this.#added) {
      for (const other of this.#held.values()) {
        if (other === lock || other.inode !== lock.inode || (lock.mode === "read" && other.mode === "read")) continue;
        invariant(
          "locks exclude",
          !this.#isHeldAt(other, lock.version),
          () => `${nameOf(lock)}, while ${nameOf(other)}`,
        );
      }
    }
    this.#added = [];
  }

  /** Whether the lock is part of the history of this version, and its session has not ended in it. */
  #isHeldAt({ session, version }: Held, at: Version): boolean {
    return this.#volume.isBefore(version, at) && this.#volume.isSessionOpenAt(session as SessionId, at);
  }
}

function nameOf({ client, inode, owner, mode, version }: Held): string {
  return `${client} holds a ${mode} lock on ${inode} as "${owner}" since ${show(version)}`;
}
