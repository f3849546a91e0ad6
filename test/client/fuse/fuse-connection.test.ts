import { afterEach, describe, expect, test, vi } from "vitest";
import { isDyingByStatus } from "../../../client/fuse/interrupts.ts";
import { OPCODE } from "../../../client/fuse/protocol.ts";
import type { Caller, Handlers } from "../../../client/volume/handlers.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { ByteString, Inode } from "../../../core/ids.ts";
import { attributes, bytes, request, session } from "./requests.ts";

const tick = () => new Promise(setImmediate);
const READ = bytes(1n, 0n, 4096, 0, 0n, 0, 0);
const SILENT = new Set(["FORGET", "BATCH_FORGET", "NOTIFY_REPLY"]);

/** A READ handler that finishes when the test calls `resolve`. */
function held() {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | ErrnoCode>();
  const seen: Caller[] = [];
  const read: Handlers["read"] = (caller) => {
    seen.push(caller);
    return promise;
  };
  return { read, resolve, seen };
}

describe("every request has one answer", () => {
  test("each opcode, known or not, whatever the handler does", async () => {
    const behaviours = {
      error: () => "EDQUOT",
      throws: () => {
        throw new Error("bug");
      },
      rejects: () => Promise.reject(new Error("bug")),
      "answers nonsense": () => Promise.resolve({}),
    };
    for (const [name, behaviour] of Object.entries(behaviours)) {
      for (let opcode = 1; opcode < 70; opcode++) {
        const handlers = new Proxy({ forget() {}, destroy() {} } as Partial<Handlers>, {
          get: (target, key) => target[key as "forget"] ?? behaviour,
        });
        const it = session({}, { handlers: handlers as Handlers });
        it.receive(request(opcode, Buffer.concat([bytes(7, 45), Buffer.alloc(200)]), { unique: 8n }));
        await tick();
        const opcodeName = Object.entries(OPCODE).find(([, number]) => number === opcode)?.[0] ?? "unknown";
        const expected = SILENT.has(opcodeName) ? 0 : 1;
        expect([name, opcodeName, it.answers.length]).toEqual([name, opcodeName, expected]);
      }
    }
  });

  test("unknown opcodes, and those for which the kernel has a fallback: ENOSYS; ioctl: ENOTTY; temporary files: EOPNOTSUPP", () => {
    const errnoOf = (opcode: number) => {
      const it = session({});
      it.receive(request(opcode, Buffer.alloc(64)));
      return it.answers[0]!.errno;
    };
    expect([7, 60, OPCODE.ACCESS, OPCODE.COPY_FILE_RANGE, OPCODE.STATX, OPCODE.POLL].map(errnoOf)).toEqual(
      Array.from({ length: 6 }, () => 38),
    );
    expect([OPCODE.IOCTL, OPCODE.TMPFILE, OPCODE.SYNCFS].map(errnoOf)).toEqual([25, 95, 0]);
  });

  test("FORGET and BATCH_FORGET reach the handler, and have no reply", () => {
    const forgotten: unknown[] = [];
    const it = session({ forget: (inode, count) => forgotten.push([inode, count]) });
    it.receive(request("FORGET", bytes(3n), { node: 9n }));
    it.receive(request("BATCH_FORGET", bytes(2, 0, 2n ** 52n, 1n, 11n, 2n ** 33n)));
    expect(it.answers).toEqual([]);
    expect(forgotten).toEqual([
      [9, 3],
      [2 ** 52, 1],
      [11, 2 ** 33],
    ]);
  });

  test("at the end pending requests get EIO, and destroy is called once", async () => {
    const { read, seen } = held();
    let destroyed = 0;
    const it = session({ read, destroy: () => destroyed++ });
    it.receive(request("READ", READ));
    it.receive(request("DESTROY", Buffer.alloc(0), { unique: 4n }));
    it.session.end();
    expect(it.answers.map((answer) => [answer.unique, answer.errno])).toEqual([
      [4n, 0],
      [2n, 5],
    ]);
    expect([destroyed, seen[0]!.signal.aborted]).toEqual([1, true]);
  });
});

describe("the data of a WRITE stays valid until its handler has finished", () => {
  for (const size of [1, 4096, 65_536, 65_537, 1024 * 1024]) {
    test(`${size} bytes, answered later`, async () => {
      let got: Buffer | undefined;
      const gate = Promise.withResolvers<void>();
      const it = session({
        write: async (_caller, _inode, _handle, offset, data, { killPrivileges }) => {
          await gate.promise;
          got = Buffer.from(data);
          expect([offset, killPrivileges]).toEqual([2 ** 40, true]);
          return data.length;
        },
      });
      const data = Buffer.alloc(size, "data");
      const kept = it.receive(request("WRITE", Buffer.concat([bytes(1n, 2n ** 40n, size, 4, 0n, 0, 0), data])));
      expect(kept).toBe(size > 65_536);
      for (let other = 0; other < 3; other++) it.receive(request("FORGET", bytes(1n)));
      gate.resolve();
      await tick();
      expect(got?.equals(data)).toBe(true);
      expect(it.answers[0]).toMatchObject({ errno: 0, body: bytes(size, 0) });
    });
  }

  test("direct I/O holds no pages, so that it may wait for an invalidation of them (defect 29)", () => {
    const never = () => new Promise<never>(() => {});
    const it = session({ read: never, write: never });
    const held = (message: Buffer) => {
      it.receive(message);
      return it.session.released(9 as Inode, "pages") !== undefined;
    };
    const LOCKOWNER = 2;
    const read = (flags: number) => request("READ", bytes(1n, 0n, 4096, flags, 5n, 0, 0), { node: 9n });
    const write = (flags: number) => request("WRITE", bytes(1n, 0n, 4, flags, 5n, 0, 0, 7), { node: 9n, unique: 4n });
    expect(held(read(LOCKOWNER))).toBe(false);
    expect(held(write(LOCKOWNER))).toBe(false);
    expect(held(write(0))).toBe(true);
  });

  test("an interrupted WRITE keeps its buffer until its handler has finished", async () => {
    const gate = Promise.withResolvers<void>();
    let got: Buffer | undefined;
    const it = session({
      write: async (_caller, _inode, _handle, _offset, data) => {
        await gate.promise;
        got = Buffer.from(data);
        return data.length;
      },
    });
    const data = Buffer.alloc(200_000, 7);
    it.receive(request("WRITE", Buffer.concat([bytes(1n, 0n, data.length, 0, 0n, 0, 0), data])));
    it.receive(request("INTERRUPT", bytes(2n), { unique: 3n }));
    expect(it.answers).toMatchObject([{ unique: 2n, errno: 4 }]);
    for (let other = 0; other < 4; other++) it.receive(request("FORGET", bytes(1n)));
    gate.resolve();
    await tick();
    expect([got?.equals(data), it.answers.length]).toEqual([true, 1]);
  });
});

describe("interrupts and deadlines", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("a caller that is killed gets EINTR at once; the handler is aborted, and its late result is ignored", async () => {
    const { read, resolve, seen } = held();
    const it = session({ read });
    it.receive(request("READ", READ, { unique: 6n }));
    it.receive(request("INTERRUPT", bytes(6n), { unique: 7n }));
    expect(it.answers).toMatchObject([{ unique: 6n, errno: 4 }]);
    expect(seen[0]!.signal.aborted).toBe(true);
    resolve(Buffer.from("late"));
    await tick();
    expect(it.answers).toHaveLength(1);
  });

  test("a caller that catches the signal keeps waiting; when it is killed later, it gets EINTR", async () => {
    const { read, seen } = held();
    vi.useFakeTimers();
    let dying = false;
    const it = session({ read }, { isDying: () => dying });
    it.receive(request("READ", READ));
    it.receive(request("INTERRUPT", bytes(2n), { unique: 3n }));
    await vi.advanceTimersByTimeAsync(250);
    expect([it.answers.length, seen[0]!.signal.aborted]).toEqual([0, false]);
    dying = true;
    await vi.advanceTimersByTimeAsync(250);
    expect(it.answers).toMatchObject([{ unique: 2n, errno: 4 }]);
  });

  test("an INTERRUPT of a request that is answered, or has not arrived, gets EAGAIN", () => {
    const it = session({});
    it.receive(request("INTERRUPT", bytes(2n), { unique: 3n }));
    expect(it.answers).toMatchObject([{ unique: 3n, errno: 11 }]);
  });

  test("a request that is not answered in time gets ETIMEDOUT, oldest first; a wait for a lock has no deadline", async () => {
    vi.useFakeTimers();
    const { read, seen } = held();
    const setlk = () => new Promise<never>(() => {});
    const it = session({ read, setlk }, { requestDeadlineMs: 100 });
    it.receive(request("SETLKW", bytes(1n, 2n, 0n, 0n, 1, 12, 0, 0), { unique: 2n }));
    it.receive(request("READ", READ, { unique: 4n }));
    await vi.advanceTimersByTimeAsync(60);
    it.receive(request("READ", READ, { unique: 6n }));
    await vi.advanceTimersByTimeAsync(80);
    expect(it.answers).toMatchObject([{ unique: 4n, errno: 110 }]);
    expect(seen.map((caller) => caller.signal.aborted)).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(100);
    expect(it.answers).toMatchObject([{ unique: 4n }, { unique: 6n, errno: 110 }]);
    it.session.end();
  });

  test("an open whose reply is too late, or does not reach the kernel, is released", async () => {
    const undone: unknown[] = [];
    const opened = Promise.withResolvers<{ handle: number; keepCache: boolean }>();
    const handlers: Partial<Handlers> = {
      open: () => opened.promise,
      opendir: () => ({ handle: 8, keepCache: false }),
      release(_caller, inode, handle) {
        undone.push(["release", inode, handle]);
        return true;
      },
      releasedir(_caller, inode, handle) {
        undone.push(["releasedir", inode, handle]);
        return true;
      },
    };
    const it = session(handlers);
    it.receive(request("OPEN", bytes(0, 0), { node: 5n }));
    it.receive(request("INTERRUPT", bytes(2n), { unique: 3n }));
    opened.resolve({ handle: 7, keepCache: false });
    await tick();
    const gone = session(handlers, { send: () => "gone" });
    gone.receive(request("OPENDIR", bytes(0, 0), { node: 6n }));
    expect(undone).toEqual([
      ["release", 5 as Inode, 7],
      ["releasedir", 6, 8],
    ]);
  });

  test("a reply that the kernel refuses is answered with EIO, and its result is released (defect 12)", () => {
    const sent: number[] = [];
    const released: unknown[] = [];
    const open = () => ({ handle: 7, keepCache: false });
    const release: Handlers["release"] = (_caller, inode, handle) => {
      released.push([inode, handle]);
      return true;
    };
    const it = session(
      { open, release },
      {
        send(reply) {
          sent.push(Math.abs(Buffer.concat(reply).readInt32LE(4)));
          return sent.length === 1 ? { refused: "ENOMEM" } : "sent";
        },
      },
    );
    it.receive(request("OPEN", bytes(0, 0), { node: 5n }));
    expect([sent, released]).toEqual([[0, 5], [[5, 7]]]);
  });

  test("a READDIRPLUS whose reply breaks off, or does not reach the kernel, keeps no lookups (defect 12)", () => {
    const listing = request("READDIRPLUS", bytes(1n, 0n, 4096, 0, 0n, 0, 0));
    const counted: Inode[] = [];
    const listed = (inode: number) => ({
      ...{ name: `n${inode}` as ByteString, inode: inode as Inode, kind: "file" as const, nextOffset: inode },
      get entry() {
        if (inode === 0) throw new Error("bug");
        counted.push(inode as Inode);
        return { attributes: { ...attributes, inode: inode as Inode }, validMs: 0, entryValidMs: 0 };
      },
    });
    const ask = (inodes: number[], sent: "sent" | "gone") => {
      const forgotten: Inode[] = [];
      const handlers: Partial<Handlers> = {
        readdir: () => inodes.map(listed),
        forget: (inode, count) => forgotten.push(...Array.from({ length: count }, () => inode)),
      };
      session(handlers, { send: () => sent }).receive(listing);
      return forgotten;
    };
    expect(ask([5, 6, 7], "sent")).toEqual([]);
    expect(ask([5, 6, 7], "gone")).toEqual([5, 6, 7]);
    expect(ask([5, 6, 0, 8], "sent")).toEqual([5, 6]);
    expect(
      ask(
        Array.from({ length: 40 }, (_, n) => n + 1),
        "gone",
      ).length,
    ).toBe(Math.floor(4096 / 160));
  });

  test("whether a thread is being killed, by the pending signals in /proc", () => {
    const status = (lines: Record<string, string>, state = "S (sleeping)") =>
      Object.entries({ State: state, SigPnd: "0", ShdPnd: "0", SigBlk: "0", SigIgn: "0", SigCgt: "0", ...lines })
        .map(([name, value]) => `${name}:\t${name === "State" ? value : value.padStart(16, "0")}`)
        .join("\n");
    expect(isDyingByStatus(status({}))).toBe(false);
    expect(isDyingByStatus(status({ SigPnd: "100" }))).toBe(true); // SIGKILL
    expect(isDyingByStatus(status({ ShdPnd: "4" }))).toBe(true); // SIGQUIT by default
    expect(isDyingByStatus(status({ ShdPnd: "4", SigCgt: "4" }))).toBe(false);
    expect(isDyingByStatus(status({ ShdPnd: "2000", SigCgt: "2000" }))).toBe(false); // SIGALRM caught
    expect(isDyingByStatus(status({ ShdPnd: "10000" }))).toBe(false); // SIGCHLD
    expect(isDyingByStatus(status({ SigPnd: "4000", SigBlk: "4000" }))).toBe(false); // SIGTERM blocked
    expect(isDyingByStatus(status({}, "Z (zombie)"))).toBe(true);
  });
});
