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
  /**
   * Answers that the lock is free, and nothing else: the client then sends it without `wait`. Undefined for a request with
   * a number, which is proposed.
   */
  readonly announce: (() => void) | undefined;
  /** Proposes the command and answers the request; `done` is called once it is applied, or has failed. */
  readonly propose: (done: () => void) => void;
  readonly refuse: (why: "EINTR" | "moved") => void;
}

interface Queue {
  waiting: LockRequest[];
  /** A lock is proposed and not applied yet: until then it is unknown which locks are held. */
  proposed: boolean;
  /** A lock was announced as free: the others wait for its request, so that a distant client gets its turn, too. */
  turn: { readonly of: LockRequest; readonly timer: NodeJS.Timeout } | undefined;
}

/** Longer than a round trip between clouds. */
const TURN_MS = 1000;

/**
 * Queues of lock requests, by inode. A lock that must wait is not proposed: its outcome, a conflict, would be kept under its
 * request number. A client waits without a number, and takes one once the lock is announced as free. The locks of one inode are proposed one at a time, so that a lock that was free when it was checked is free
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
    const { inode, mode } = request.command;
    const queue = this.#queues.get(inode) ?? { waiting: [], proposed: false, turn: undefined };
    const isItsTurn = queue.turn !== undefined && isSameHolder(queue.turn.of, request);
    if (mode === "unlock") {
      this.#interrupt(request);
      request.propose(() => {});
    } else if (isItsTurn) queue.waiting.unshift(request);
    else queue.waiting.push(request);
    if (queue.waiting.length > 0) this.#queues.set(inode, queue);
    if (isItsTurn) this.#endTurn(inode, queue);
    else this.#pump(inode);
  }

  /** The stream has ended: drops its requests. */
  forget(stream: SessionStream): void {
    for (const [inode, queue] of this.#queues) {
      queue.waiting = queue.waiting.filter((one) => one.stream !== stream);
      if (queue.turn?.of.stream === stream) this.#endTurn(inode, queue);
    }
  }

  /** This server no longer grants locks: every waiting request is refused, and its client asks the new primary. */
  moved(): void {
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    for (const { waiting, turn } of queues) {
      clearTimeout(turn?.timer);
      for (const one of waiting) one.refuse("moved");
    }
  }

  #interrupt(unlock: LockRequest): void {
    const queue = this.#queues.get(unlock.command.inode);
    if (queue === undefined) return;
    const isSame = (one: LockRequest) => one.wait && isSameHolder(one, unlock);
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
    if (request!.announce !== undefined) {
      request!.announce();
      queue.turn = { of: request!, timer: setTimeout(() => this.#endTurn(inode, queue), TURN_MS) };
      return;
    }
    request!.propose(() => {
      queue.proposed = false;
      this.#pump(inode);
    });
  }

  #endTurn(inode: Inode, queue: Queue): void {
    clearTimeout(queue.turn?.timer);
    queue.turn = undefined;
    queue.proposed = false;
    this.#pump(inode);
  }

  #isFree({ command, stream }: LockRequest): boolean {
    const held = this.#machine.tree.locks(command.inode);
    return !held.some((lock) => conflicts(lock, command, stream.session));
  }
}

function isSameHolder(a: LockRequest, b: LockRequest): boolean {
  return (
    a.stream.session === b.stream.session && a.command.owner === b.command.owner && a.command.table === b.command.table
  );
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
