import type { ErrnoCode } from "../../core/errno.ts";
import type { Inode } from "../../core/ids.ts";
import type { Caller, Handlers, Reply } from "../volume/handlers.ts";
import type { OpcodeName } from "./protocol.ts";
import type { ReplyWriter } from "./reply-writer.ts";
import type { RequestBody } from "./request-body.ts";

/** Opcodes that concern the connection, not the file system: FuseConnection handles them, most without a reply. */
type ControlName = "INIT" | "FORGET" | "BATCH_FORGET" | "INTERRUPT" | "DESTROY" | "NOTIFY_REPLY";
export type OperationName = Exclude<OpcodeName, ControlName>;

/** What every operation needs besides its request. */
export interface Context {
  readonly handlers: Handlers;
  /** How long the kernel may cache that a name does not exist, ms; 0: not at all. */
  readonly negativeEntryValidMs: number;
}

/** One opcode: `call` decodes a request and calls its handler, `encode` encodes the result once there is one. */
export interface Operation<T> {
  call(context: Context, request: Request, body: RequestBody): Reply<T>;
  /** Puts the members of the reply; or answers the errno to reply with instead. */
  encode(out: ReplyWriter, value: T, request: Request): ErrnoCode | undefined;
  /** The reply did not reach the kernel (interrupted, too late, not encodable): releases what the result holds. */
  undo?(context: Context, request: Request, value: T): void;
  /** Waits for another process without a deadline; any signal ends it (F_SETLKW, fcntl(2)). */
  readonly blocking?: true;
  /** What the kernel keeps locked until the reply, of the request's inode and its `secondInode`. */
  readonly holds?: Held;
  /** Not implemented: always answered with this errno. */
  readonly refused?: number;
}

/**
 * Locks that block a notification: those of a file's pages, or the inode's own, which also guards a directory's
 * entries.
 */
export type Held = "pages" | "names";

/** One request of the kernel (struct fuse_in_header). The handlers see it as their caller. */
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
  /** A READ or WRITE of direct I/O: no page is locked for it. */
  direct = false;
  /** The largest reply, bytes, where the request states one. */
  sizeBytes = 0;
  /** How many entries of a listing are in the reply; with READDIRPLUS each counts as a lookup. */
  entriesPut = 0;
  answered = false;
  /** When it is given up (performance.now). */
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

  /**
   * Its `unique`, by which an INTERRUPT names it, without the top bit, which marks a request that was resent
   * (HAS_RESEND).
   */
  get key(): number {
    return uniqueKey(this.uniqueLow, this.uniqueHigh);
  }
}

export function uniqueKey(low: number, high: number): number {
  return (high & 0x7fffffff) * 0x1_0000_0000 + low;
}
