import type { CommandOf } from "../../../core/commands.ts";
import type { Inode } from "../../../core/ids.ts";
import type { HeldLock } from "../../../core/tree.ts";
import type { Machine } from "../../machine/machine.ts";
import type { SessionStream } from "./session-stream.ts";

export interface LockRequest {
  readonly stream: SessionStream;
  readonly command: CommandOf<"lock">;
  /** Whether to wait until the lock is free. */
  readonly wait: boolean;
  /** Proposes the command and answers the request; `done` is called once it is applied, or has failed. */
  readonly propose: (done: () => void) => void;
  readonly refuse: (why: "EINTR" | "moved") => void;
}

interface Queue {
  waiting: LockRequest[];
  /** A lock is proposed and not applied yet: until then it is unknown which locks are held. */
  proposed: boolean;
}

/**
 * Queues of lock requests, by inode. A lock that must wait is not proposed: its outcome, a conflict, would be kept under its
 * request number. The locks of one inode are proposed one at a time, so that a lock that was free when it was checked is free
 * when it is applied. An unlock is proposed at once, and ends the waiting requests of the same owner, whose system call was
 * interrupted.
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

  /** The stream has ended: drops its requests. */
  forget(stream: SessionStream): void {
    for (const queue of this.#queues.values()) queue.waiting = queue.waiting.filter((one) => one.stream !== stream);
  }

  /** This server no longer grants locks: every waiting request is refused, and its client asks the new primary. */
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
    return !held.some((lock) => conflicts(lock, command, stream.session));
  }
}

/** Whether a held lock conflicts with a request. An owner never conflicts with itself. */
export function conflicts(
  lock: HeldLock,
  request: { table: string; owner: string; mode: string; start: number; end: number },
  session: number,
): boolean {
  if (lock.table !== request.table) return false;
  if (lock.owner === request.owner && lock.session === session) return false;
  if (lock.table === "posix" && (lock.end < request.start || lock.start > request.end)) return false;
  return request.mode === "write" || lock.mode === "write";
}
