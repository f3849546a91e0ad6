import { pino } from "pino";
import { FuseConnection, type FuseConnectionOptions } from "../../../client/fuse/fuse-connection.ts";
import { OPCODE, type OpcodeName } from "../../../client/fuse/protocol.ts";
import { ReadBuffers } from "../../../client/fuse/read-buffers.ts";
import type { EntryReply, Handlers } from "../../../client/volume/handlers.ts";
import type { Attributes } from "../../../core/commands.ts";
import type { Inode, Sequence } from "../../../core/ids.ts";

export const LARGE = 2 ** 53 - 1;
export const attributes: Attributes = {
  inode: LARGE as Inode,
  kind: "symlink",
  mode: 0o1755,
  uid: 0xfffffffe,
  gid: 7,
  links: 3,
  size: 2 ** 40 + 5,
  usedBytes: 513,
  device: 0x1234,
  atime: { seconds: -1, nanoseconds: 999_999_999 },
  mtime: { seconds: -(2 ** 40), nanoseconds: 1 },
  ctime: { seconds: 2 ** 34, nanoseconds: 0 },
  entries: 0,
  xattrs: 0,
  policy: 0,
  parent: 1 as Inode,
  changed: 9 as Sequence,
};
export const entry: EntryReply = { attributes, validMs: 1500, entryValidMs: 60_001 };

/** A reply as the kernel would read it. */
export interface Answer {
  readonly unique: bigint;
  readonly errno: number;
  readonly body: Buffer;
}

/** Little-endian members: a number is 32 bits, a bigint 64, a string its bytes and a NUL, a buffer itself. */
export function bytes(...members: (number | bigint | string | Buffer)[]): Buffer {
  return Buffer.concat(
    members.map((member) => {
      if (Buffer.isBuffer(member)) return member;
      if (typeof member === "string") return Buffer.from(`${member}\0`, "latin1");
      const buffer = Buffer.alloc(typeof member === "bigint" ? 8 : 4);
      if (typeof member === "bigint") buffer.writeBigUInt64LE(BigInt.asUintN(64, member));
      else buffer.writeUInt32LE(member >>> 0);
      return buffer;
    }),
  );
}

export function request(
  opcode: OpcodeName | number,
  body: Buffer,
  header: { unique?: bigint; node?: bigint; uid?: number; gid?: number; pid?: number } = {},
): Buffer {
  const { unique = 2n, node = 1n, uid = 1000, gid = 100, pid = 4242 } = header;
  const number = typeof opcode === "number" ? opcode : OPCODE[opcode];
  return Buffer.concat([bytes(40 + body.length, number, unique, node, uid, gid, pid, 0), body]);
}

/** A FuseConnection whose kernel is the test. */
export function session(handlers: Partial<Handlers>, options: Partial<FuseConnectionOptions> = {}) {
  const answers: Answer[] = [];
  const buffers = new ReadBuffers(1024 * 1024 + 8192);
  const made = new FuseConnection({
    handlers: { forget() {}, destroy() {}, ...handlers } as Handlers,
    logger: pino({ level: "silent" }),
    buffers,
    send(reply) {
      const all = Buffer.concat(reply);
      if (all.readUInt32LE(0) !== all.length) throw new Error("a reply's length is not what its header says");
      answers.push({ unique: all.readBigUInt64LE(8), errno: Math.abs(all.readInt32LE(4)), body: all.subarray(16) });
      return "sent";
    },
    writeBytesMax: 1024 * 1024,
    requestDeadlineMs: 10_000,
    negativeEntryValidMs: 0,
    isDying: () => true,
    ...options,
  });
  return {
    answers,
    buffers,
    session: made,
    /** Delivers a request as the device does: in a buffer that the next one overwrites. Answers whether it was kept. */
    receive(message: Buffer): boolean {
      const buffer = buffers.take();
      message.copy(buffer);
      const kept = made.receive(buffer, message.length);
      if (!kept) buffers.give(buffer.fill(0xee));
      return kept;
    },
  };
}
