import type { CommandOf } from "../../../core/commands.ts";
import type { Inode } from "../../../core/ids.ts";
import type { HeldLock } from "../../../core/tree.ts";
import type { Machine } from "../../machine/machine.ts";
import type { SessionStream } from "./session-stream.ts";

export interface LockRequest {
  readonly stream: SessionStream;
  readonly command: CommandOf<"lock">;
  /** Not proposed before it can be had. */
  readonly wait: boolean;
  /** Proposes and answers it; `done` once it is applied, or came to nothing. */
  readonly propose: (done: () => void) => void;
  readonly refuse: (why: "EINTR" | "moved") => void;
}

interface Queue {
  waiting: LockRequest[];
  /** One is proposed and not yet applied: until then nobody knows who holds what. */
  proposed: boolean;
}

/**
 * A lock that must wait is not proposed: its outcome would be kept under its request number for ever. Those who want
 * locks of one inode are proposed one at a time, so that what was free when it was looked at is free when it is applied.
 * Giving up a lock goes straight through, and ends the waiting of the same owner (its system call was interrupted).
 */
export class LockQueues {
  readonly #machine: Machine;
  readonly #queues = new Map<Inode, Queue>();

  constructor(machine: Machine) {
    this.#machine = machine;
    machine.onTurn((turn) => {
      if (this.#queues.size === 0) return;
      for (const { unlocked } of turn.effects) for (const inode of unlocked) this.#pump(inode);
    });
  }

  enter(request: LockRequest): void {
    const { command } = request;
    if (command.mode === "unlock") {
      this.#interrupt(request);
      request.propose(() => {});
      return;
    }
    const queue = this.#queues.get(command.inode) ?? { waiting: [], proposed: false };
    queue.waiting.push(request);
    this.#queues.set(command.inode, queue);
    this.#pump(command.inode);
  }

  forget(stream: SessionStream): void {
    for (const queue of this.#queues.values()) queue.waiting = queue.waiting.filter((one) => one.stream !== stream);
  }

  /** Locks are given elsewhere now: those who wait ask there. */
  moved(): void {
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    for (const { waiting } of queues) for (const one of waiting) one.refuse("moved");
  }

  #interrupt({ stream, command }: LockRequest): void {
    const queue = this.#queues.get(command.inode);
    if (queue === undefined) return;
    const isSame = (one: LockRequest) =>
      one.wait &&
      one.stream.session === stream.session &&
      one.command.owner === command.owner &&
      one.command.table === command.table;
    const ended = queue.waiting.filter(isSame);
    queue.waiting = queue.waiting.filter((one) => !isSame(one));
    for (const one of ended) one.refuse("EINTR");
  }

  #pump(inode: Inode): void {
    const queue = this.#queues.get(inode);
    if (queue === undefined || queue.proposed) return;
    const next = queue.waiting.findIndex((one) => !one.wait || this.#isFree(one));
    if (next === -1) {
      if (queue.waiting.length === 0) this.#queues.delete(inode);
      return;
    }
    const [request] = queue.waiting.splice(next, 1);
    queue.proposed = true;
    request!.propose(() => {
      queue.proposed = false;
      this.#pump(inode);
    });
  }

  #isFree({ command, stream }: LockRequest): boolean {
    const held = this.#machine.tree.locks(command.inode);
    return !held.some((lock) => isInTheWay(lock, command, stream.session));
  }
}

/** Whether a held lock keeps another one from being had. A session's own owner never does. */
export function isInTheWay(
  lock: HeldLock,
  wanted: { table: string; owner: string; mode: string; start: number; end: number },
  session: number,
): boolean {
  if (lock.table !== wanted.table) return false;
  if (lock.owner === wanted.owner && lock.session === session) return false;
  if (lock.table === "posix" && (lock.end < wanted.start || lock.start > wanted.end)) return false;
  return wanted.mode === "write" || lock.mode === "write";
}
