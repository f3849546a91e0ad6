import { describe, expect, test } from "vitest";
import {
  invalidateEntryMessage,
  invalidateInodeMessage,
  invalidatePagesMessage,
  pruneMessage,
} from "../../../client/fuse/notify-message.ts";
import type { Handlers } from "../../../client/volume/handlers.ts";
import type { ByteString, Inode } from "../../../core/ids.ts";
import { bytes, entry, LARGE, request, session } from "./requests.ts";

/** struct fuse_attr, by hand. */
const ATTR = bytes(
  ...[BigInt(LARGE), 2n ** 40n + 5n, 2n, -1n, -(2n ** 40n), 2n ** 34n],
  ...[999_999_999, 1, 0, 0o121755, 3, 0xfffffffe, 7, 0x1234, 4096, 0],
);
const ENTRY = Buffer.concat([bytes(BigInt(LARGE), 0n, 60n, 1n, 1_000_000, 500_000_000), ATTR]);

/** Hands one request to a connection with these handlers; answers the replies that were sent synchronously. */
function ask(handlers: Partial<Handlers>, message: Buffer) {
  const it = session(handlers);
  it.receive(message);
  expect(it.answers).toHaveLength(1);
  return it.answers[0]!;
}

describe("bytes as the kernel writes and reads them", () => {
  test("INIT: requests flags only among those that the kernel offers", () => {
    const offered = bytes(7, 45, 131072, 0xffffffff, 0xffffffff, Buffer.alloc(44));
    const { body } = ask({}, request("INIT", offered));
    expect(body).toHaveLength(64);
    const requested = 0x50c4_e47b | (1 << 23);
    expect([0, 4, 8].map((at) => body.readUInt32LE(at))).toEqual([7, 45, 131072]);
    expect(body.readUInt32LE(12).toString(16)).toBe((requested >>> 0).toString(16));
    expect([body.readUInt32LE(20), body.readUInt32LE(24), body.readUInt16LE(28)]).toEqual([1048576, 1, 256]);
    expect(body.readUInt32LE(32)).toBe(1 << 7);

    const old = ask({}, request("INIT", bytes(7, 31, 131072, 0x0000_0008))).body;
    expect([old.readUInt32LE(4), old.readUInt32LE(12), old.readUInt32LE(32)]).toEqual([31, 8, 0]);
    expect(ask({}, request("INIT", bytes(6, 1, 0, 0))).errno).toBe(22);
  });

  test("LOOKUP: the name as bytes, the caller, the same unique; entry and attributes with 53-bit numbers", () => {
    const seen: unknown[] = [];
    const lookup: Handlers["lookup"] = (caller, parent, name) => {
      seen.push([caller.uid, caller.gid, caller.pid, parent, name]);
      return entry;
    };
    const message = request("LOOKUP", bytes("\x01\xff\n"), { unique: 2n ** 63n + 77n, node: BigInt(LARGE) });
    expect(ask({ lookup }, message)).toEqual({ unique: 2n ** 63n + 77n, errno: 0, body: ENTRY });
    expect(seen).toEqual([[1000, 100, 4242, LARGE, "\x01\xff\n"]]);
  });

  test("LOOKUP: a name that does not exist is an error, or a negative entry with its validity", () => {
    const lookup = () => "ENOENT" as const;
    expect(ask({ lookup }, request("LOOKUP", bytes("no")))).toMatchObject({ errno: 2, body: Buffer.alloc(0) });
    const it = session({ lookup }, { negativeEntryValidMs: 2500 });
    it.receive(request("LOOKUP", bytes("no")));
    expect(it.answers[0]!.body).toEqual(Buffer.concat([bytes(0n, 0n, 2n, 0n, 500_000_000, 0), Buffer.alloc(88)]));
  });

  test("LOOKUP of . and ..: an inode by its number, as file handles need it; ESTALE once it has no links (defect 30)", async () => {
    const errnoOf = async (links: number, name: string) => {
      const it = session({ getattr: () => ({ ...entry, attributes: { ...entry.attributes, links } }) });
      it.receive(request("LOOKUP", bytes(name)));
      await new Promise(setImmediate);
      return it.answers[0]!.errno;
    };
    expect(await Promise.all([errnoOf(1, "."), errnoOf(2, "..")])).toEqual([0, 0]);
    expect(await Promise.all([errnoOf(0, "."), errnoOf(0, "..")])).toEqual([116, 116]);
  });

  test("GETATTR, SETATTR", () => {
    const out = Buffer.concat([bytes(1n, 500_000_000, 0), ATTR]);
    const handles: unknown[] = [];
    const getattr: Handlers["getattr"] = (_caller, inode, handle) => {
      handles.push([inode, handle]);
      return entry;
    };
    expect(ask({ getattr }, request("GETATTR", bytes(0, 0, 99n))).body).toEqual(out);
    expect(ask({ getattr }, request("GETATTR", bytes(1, 0, 2n ** 40n))).body).toEqual(out);
    expect(handles).toEqual([
      [1, undefined],
      [1, 2 ** 40],
    ]);

    const changes: unknown[] = [];
    const setattr: Handlers["setattr"] = (_caller, _inode, change) => {
      changes.push(change);
      return entry;
    };
    const body = (valid: number) =>
      bytes(valid, 0, 8n, 2n ** 41n, 0n, -5n, 6n, -(2n ** 35n), 50, 60, 70, 0o104751, 0, 1, 2, 0);
    for (const valid of [0, 0b1001111, 0b110000, 0b110110000, 1 << 10, 1 << 11]) {
      expect(ask({ setattr }, request("SETATTR", body(valid))).body).toEqual(out);
    }
    expect(changes).toEqual([
      {},
      { mode: 0o4751, uid: 1, gid: 2, size: 2 ** 41, handle: 8 },
      { atime: { seconds: -5, nanoseconds: 50 }, mtime: { seconds: 6, nanoseconds: 60 } },
      { atime: "now", mtime: "now" },
      { ctime: { seconds: -(2 ** 35), nanoseconds: 70 } },
      { killPrivileges: true },
    ]);
  });

  test("names: MKNOD, MKDIR, SYMLINK, LINK, RENAME, RENAME2, UNLINK, RMDIR", () => {
    const seen: unknown[] = [];
    const note =
      (result: unknown) =>
      (_caller: unknown, ...rest: unknown[]) => {
        seen.push(rest);
        return result as never;
      };
    const handlers = {
      make: note(entry),
      link: note(entry),
      rename: note(true),
      unlink: note(true),
      rmdir: note(true),
    };
    expect(ask(handlers, request("MKNOD", bytes(0o020644, 0x801, 0o22, 0, "n"))).body).toEqual(ENTRY);
    ask(handlers, request("MKNOD", bytes(0o644, 0, 0, 0, "plain")));
    ask(handlers, request("MKDIR", bytes(0o1777, 0o77, "d")));
    ask(handlers, request("SYMLINK", bytes("s", "../target")));
    ask(handlers, request("LINK", bytes(55n, "l")));
    ask(handlers, request("RENAME", bytes(9n, "from", "to")));
    ask(handlers, request("RENAME2", bytes(9n, 1, 0, "a", "b")));
    ask(handlers, request("RENAME2", bytes(9n, 2, 0, "a", "")));
    expect(ask(handlers, request("RENAME2", bytes(9n, 3, 0, "a", "b"))).errno).toBe(22);
    expect(ask(handlers, request("MKNOD", bytes(0o050644, 0, 0, 0, "odd"))).errno).toBe(22);
    ask(handlers, request("UNLINK", bytes("u")));
    ask(handlers, request("RMDIR", bytes("r")));
    expect(seen).toEqual([
      [1, "n", { kind: "character", mode: 0o644, umask: 0o22, device: 0x801, target: "" }],
      [1, "plain", { kind: "file", mode: 0o644, umask: 0, device: 0, target: "" }],
      [1, "d", { kind: "directory", mode: 0o1777, umask: 0o77, device: 0, target: "" }],
      [1, "s", { kind: "symlink", mode: 0o777, umask: 0, device: 0, target: "../target" }],
      [55, 1, "l"],
      [1, "from", 9, "to", "replace"],
      [1, "a", 9, "b", "noreplace"],
      [1, "a", 9, "", "exchange"],
      [1, "u"],
      [1, "r"],
    ]);
  });

  test("READLINK: a target that is spelled like an errno is a target", () => {
    const readlink = () => ({ target: "ENOENT" as ByteString });
    expect(ask({ readlink }, request("READLINK", Buffer.alloc(0)))).toMatchObject({
      errno: 0,
      body: Buffer.from("ENOENT"),
    });
  });

  test("OPEN, CREATE, OPENDIR: handle and flags; O_TRUNC that clears set-uid is the open's own (defect 3)", () => {
    const open = { handle: 2 ** 52, keepCache: true, directIo: true };
    expect(ask({ open: () => open }, request("OPEN", bytes(0, 0))).body).toEqual(bytes(2n ** 52n, 3, 0));
    expect(ask({ opendir: () => open }, request("OPENDIR", bytes(0, 0))).body).toEqual(bytes(2n ** 52n, 11, 0));
    const create = { create: () => ({ entry, open: { handle: 1, keepCache: false } }) };
    const created = ask(create, request("CREATE", bytes(0, 0o100644, 0, 0, "c"))).body;
    expect(created).toEqual(Buffer.concat([ENTRY, bytes(1n, 0, 0)]));

    const opens: unknown[] = [];
    const it = session({
      open(_caller, _inode, flags, killPrivileges) {
        opens.push([flags, killPrivileges]);
        return open;
      },
    });
    for (const [flags, kill] of [
      [0o1001, 1],
      [0o1001, 0],
    ] as const) {
      it.receive(request("OPEN", bytes(flags, kill)));
    }
    expect(opens).toEqual([
      [0o1001, true],
      [0o1001, false],
    ]);
  });

  test("READ: one buffer or several, small or large", () => {
    const answer = (data: Uint8Array | Uint8Array[]) =>
      ask({ read: () => data }, request("READ", bytes(1n, 2n ** 40n, 131072, 0, 0n, 0, 0)));
    const read = (data: Uint8Array | Uint8Array[]) => answer(data).body;
    expect(answer(Buffer.alloc(131_073)).errno).toBe(5);
    expect(read(Buffer.from("abc")).toString()).toBe("abc");
    expect(read([])).toHaveLength(0);
    expect(read([Buffer.from("ab"), Buffer.from("cde")]).toString()).toBe("abcde");
    const large = [Buffer.alloc(100_000, 1), Buffer.alloc(31_072, 2)];
    expect(read(large).equals(Buffer.concat(large))).toBe(true);
  });

  test("READ: 2,000 pieces reach the kernel in one writev(2), which takes 1,024 (defect 2)", () => {
    const pieces = Array.from({ length: 2000 }, (_, index) => Buffer.alloc(64, index));
    const replies: (readonly Uint8Array[])[] = [];
    const send = (reply: readonly Uint8Array[]) => {
      replies.push(reply.map((part) => Buffer.from(part)));
      return "sent" as const;
    };
    const it = session({ read: () => pieces }, { send });
    it.receive(request("READ", bytes(1n, 0n, 131072, 0, 0n, 0, 0)));
    expect(replies).toHaveLength(1);
    expect(replies[0]!.length).toBeLessThanOrEqual(1024);
    expect(Buffer.concat(replies[0]!).readUInt32LE(0)).toBe(16 + 128_000);
    expect(Buffer.concat(replies[0]!).subarray(16).equals(Buffer.concat(pieces))).toBe(true);
  });

  test("FLUSH, RELEASE, FSYNC, FALLOCATE, LSEEK: offsets above 32 bits, lock owners as tokens", () => {
    const seen: unknown[] = [];
    const note =
      (result: unknown) =>
      (_caller: unknown, ...rest: unknown[]) => {
        seen.push(rest);
        return result as never;
      };
    const h = {
      flush: note(true),
      release: note(true),
      fsync: note(true),
      fallocate: note(true),
      lseek: note(2 ** 45),
    };
    ask(h, request("FLUSH", bytes(3n, 0, 0, 0xabcdef01_00000002n)));
    ask(h, request("RELEASE", bytes(3n, 0, 0, 5n)));
    ask(h, request("RELEASE", bytes(3n, 0, 2, 5n)));
    ask(h, request("FSYNC", bytes(3n, 1, 0)));
    ask(h, request("FALLOCATE", bytes(3n, 2n ** 33n, 2n ** 34n, 3, 0)));
    expect(ask(h, request("LSEEK", bytes(3n, 2n ** 44n, 4, 0))).body).toEqual(bytes(2n ** 45n));
    expect(seen).toEqual([
      [1, 3, "abcdef0100000002"],
      [1, 3, undefined],
      [1, 3, "000000005"],
      [1, 3, true],
      [1, 3, 3, 2 ** 33, 2 ** 34],
      [1, 3, 2 ** 44, 4],
    ]);
  });

  test("READDIR and READDIRPLUS: as many entries as fit, padded to 8", () => {
    const listed = [
      { name: "." as ByteString, inode: 1 as Inode, kind: "directory" as const, nextOffset: 1 },
      {
        name: "long name \xff" as ByteString,
        inode: LARGE as Inode,
        kind: "symlink" as const,
        nextOffset: LARGE,
        entry,
      },
    ];
    const ask2 = (opcode: "READDIR" | "READDIRPLUS", size: number) =>
      ask({ readdir: () => listed }, request(opcode, bytes(1n, 0n, size, 0, 0n, 0, 0))).body;
    const dot = bytes(1n, 1n, 1, 4, Buffer.from(".\0\0\0\0\0\0\0"));
    const long = bytes(BigInt(LARGE), BigInt(LARGE), 11, 10, Buffer.from("long name \xff\0\0\0\0\0", "latin1"));
    expect(ask2("READDIR", 4096)).toEqual(Buffer.concat([dot, long]));
    expect(ask2("READDIR", dot.length + long.length - 1)).toEqual(dot);
    expect(ask2("READDIR", 8)).toHaveLength(0);
    expect(ask2("READDIRPLUS", 4096)).toEqual(Buffer.concat([Buffer.alloc(128), dot, ENTRY, long]));
  });

  test("xattrs: a request for the size, for the value, with too small a buffer; ACLs never reach a handler", () => {
    const getxattr = () => Buffer.from("value");
    expect(ask({ getxattr }, request("GETXATTR", bytes(0, 0, "user.a"))).body).toEqual(bytes(5, 0));
    expect(ask({ getxattr }, request("GETXATTR", bytes(5, 0, "user.a"))).body.toString()).toBe("value");
    expect(ask({ getxattr }, request("GETXATTR", bytes(4, 0, "user.a"))).errno).toBe(34);
    expect(ask({ getxattr }, request("GETXATTR", bytes(99, 0, "system.posix_acl_default"))).errno).toBe(95);
    const listxattr = () => ["user.a", "user.\xff"] as ByteString[];
    expect(ask({ listxattr }, request("LISTXATTR", bytes(0, 0))).body).toEqual(bytes(14, 0));
    expect(ask({ listxattr }, request("LISTXATTR", bytes(64, 0))).body).toEqual(bytes("user.a", "user.\xff"));
    const seen: unknown[] = [];
    const setxattr: Handlers["setxattr"] = (_caller, _inode, name, value, flags) => {
      seen.push([name, Buffer.from(value).toString(), flags]);
      return true;
    };
    ask({ setxattr }, request("SETXATTR", bytes(3, 2, "user.b", Buffer.from("xyz"))));
    expect(seen).toEqual([["user.b", "xyz", 2]]);
  });

  test("locks: ranges to the end of the file in both directions", () => {
    const toEnd = { mode: "write" as const, start: 5, end: Number.MAX_SAFE_INTEGER, pid: 12 };
    const seen: unknown[] = [];
    const getlk: Handlers["getlk"] = (_caller, _inode, handle, owner, range) => {
      seen.push([handle, owner, range]);
      return toEnd;
    };
    const body = bytes(1n, 2n, 5n, 2n ** 63n - 1n, 1, 12, 0, 0);
    expect(ask({ getlk }, request("GETLK", body)).body).toEqual(bytes(5n, 2n ** 63n - 1n, 1, 12));
    expect(seen).toEqual([[1, "000000002", toEnd]]);
    const options: unknown[] = [];
    const setlk: Handlers["setlk"] = (_caller, _inode, _handle, _owner, range, how) => {
      options.push([range.mode, how]);
      return true;
    };
    ask({ setlk }, request("SETLK", bytes(1n, 2n, 0n, 0n, 2, 12, 1, 0)));
    ask({ setlk }, request("SETLKW", bytes(1n, 2n, 0n, 0n, 0, 12, 0, 0)));
    expect(options).toEqual([
      ["unlock", { wait: false, flock: true }],
      ["read", { wait: true, flock: false }],
    ]);
  });

  test("STATFS", () => {
    const statfs = () => ({ blockBytes: 4096, blocks: 2 ** 40, blocksFree: 2, inodes: 3, inodesFree: 4 });
    expect(ask({ statfs }, request("STATFS", Buffer.alloc(0))).body).toEqual(
      Buffer.concat([bytes(2n ** 40n, 2n, 2n, 3n, 4n, 4096, 255, 4096), Buffer.alloc(28)]),
    );
  });

  test("notifications: attributes only is offset -1", () => {
    expect(invalidateInodeMessage(LARGE as Inode, true)).toEqual(bytes(40, 2, 0n, BigInt(LARGE), 0n, 0n));
    expect(invalidateInodeMessage(5 as Inode, false)).toEqual(bytes(40, 2, 0n, 5n, -1n, 0n));
    expect(pruneMessage([5 as Inode, LARGE as Inode])).toEqual(bytes(48, 9, 0n, 2, 0, 0n, 5n, BigInt(LARGE)));
    expect(invalidatePagesMessage(5 as Inode, 2 ** 40, 2 ** 33)).toEqual(bytes(40, 2, 0n, 5n, 2n ** 40n, 2n ** 33n));
    const name = "n\xff" as ByteString;
    expect(invalidateEntryMessage(5 as Inode, name, "drop")).toEqual(bytes(35, 3, 0n, 5n, 2, 0, name));
  });

  test("a name that expires is sent with FUSE_EXPIRE_ONLY", () => {
    const name = "n\xff" as ByteString;
    expect(invalidateEntryMessage(5 as Inode, name, "expire")).toEqual(bytes(35, 3, 0n, 5n, 2, 1, name));
  });
});
