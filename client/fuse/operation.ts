import type { ErrnoCode } from "../../core/errno.ts";
import type { Inode } from "../../core/ids.ts";
import type { Caller, Handlers, Reply } from "../volume/handlers.ts";
import type { OpcodeName } from "./protocol.ts";
import type { ReplyWriter } from "./reply-writer.ts";
import type { RequestBody } from "./request-body.ts";

/** Opcodes about requests and the connection, not the file system: the session answers them, most with nothing. */
type ControlName = "INIT" | "FORGET" | "BATCH_FORGET" | "INTERRUPT" | "DESTROY" | "NOTIFY_REPLY";
export type OperationName = Exclude<OpcodeName, ControlName>;

/** What operations need beyond the request. */
export interface Context {
  readonly handlers: Handlers;
  /** How long the kernel may believe that a name is not there, ms; 0: not at all. */
  readonly negativeEntryValidMs: number;
}

/** How one opcode is decoded, asked and encoded. `call` runs at once, `encode` when the answer is there. */
export interface Operation<T> {
  call(context: Context, request: Request, body: RequestBody): Reply<T>;
  /** Puts the members of the answer; or names the error that the answer comes to. */
  encode(out: ReplyWriter, value: T, request: Request): ErrnoCode | undefined;
  /** The answer reached nobody (interrupted, too late): gives back what it held. */
  undo?(context: Context, request: Request, value: T): void;
  /** Waits for another process, as long as that takes: no deadline, and any signal ends it (F_SETLKW). */
  readonly patient?: true;
  /** What the kernel keeps locked until the answer, of the request's inode (and its `secondInode`). */
  readonly holds?: Held;
  /** Always refused, with this errno. */
  readonly refused?: number;
}

/** Pages of a file, or the inode's own lock, which also guards a directory's names: what a notification waits for. */
export type Held = "pages" | "names";

/** One request of the kernel, as the handlers see its caller. */
export class Request implements Caller {
  readonly opcode: number;
  /** The two halves of `unique`, echoed in the reply. */
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
  readonly inode: Inode;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The other directory of a rename. */
  secondInode: Inode | undefined;
  /** The bytes that the answer may hold, where the request says so. */
  sizeBytes = 0;
  answered = false;
  /** When it gives up, on the session's clock, ms. */
  deadlineMs = 0;
  #controller: AbortController | undefined;

  constructor(header: Buffer) {
    this.opcode = header.readUInt32LE(4);
    this.uniqueLow = header.readUInt32LE(8);
    this.uniqueHigh = header.readUInt32LE(12);
    this.inode = (header.readUInt32LE(20) * 0x1_0000_0000 + header.readUInt32LE(16)) as Inode;
    this.uid = header.readUInt32LE(24);
    this.gid = header.readUInt32LE(28);
    this.pid = header.readUInt32LE(32);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  abort(reason: ErrnoCode): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }

  /** What an INTERRUPT names it by. The top bit marks a request that the kernel sent again. */
  get key(): number {
    return uniqueKey(this.uniqueLow, this.uniqueHigh);
  }
}

export function uniqueKey(low: number, high: number): number {
  return (high & 0x7fffffff) * 0x1_0000_0000 + low;
}
