import { describe, expect, test } from "vitest";
import type { CommandOf } from "../../core/commands.ts";
import { COUNTER_LIMIT, type Inode, type RegionIndex, type SessionId, type SliceId } from "../../core/ids.ts";
import { KEY_PREFIX } from "../../core/keys.ts";
import { conflictingLock } from "../../core/locks.ts";
import { REQUEST_WINDOW_MAX } from "../../core/requests.ts";
import { bytes, makeCommand, NO_SESSION_ID, OTHER_SESSION, ROOT_INODE, SESSION, World } from "./world.ts";

const END = Number.MAX_SAFE_INTEGER;

describe("exactly once", () => {
  test("a retry returns the kept outcome, of a success or a failure, and changes nothing", () => {
    const world = new World();
    const make = world.entry(makeCommand(ROOT_INODE, "f"));
    const made = world.applyBytes(make);
    const refused = world.entry(makeCommand(ROOT_INODE, "f"));
    world.applyBytes(refused);
    world.must({ kind: "unlink", parent: ROOT_INODE, name: bytes("f") });
    expect(world.applyBytes(make)).toMatchObject({ outcome: made.taken && made.outcome });
    expect(world.applyBytes(refused)).toMatchObject({ outcome: { ok: false, error: "EEXIST" } });
    expect(world.lookup(ROOT_INODE, "f")).toBeUndefined();
    expect(world.effects).toMatchObject({
      touched: [],
      slicesAdded: [],
      slicesDropped: [],
      orphaned: [],
      unlocked: [],
    });
  });

  test("outcomes are kept across a restart of the server", () => {
    const world = new World();
    const make = world.entry(makeCommand(ROOT_INODE, "f"));
    const made = world.applyBytes(make);
    const restarted = new World(world.view);
    expect(restarted.applyBytes(make)).toMatchObject({ outcome: made.taken && made.outcome });
    expect(restarted.attributes(ROOT_INODE).entries).toBe(1);
  });

  test("requests may come in any order; below the low water or beyond the window they are EINVAL", () => {
    const world = new World();
    const make = (name: string, request: number, lowWater: number) =>
      world.errorOf(makeCommand(ROOT_INODE, name), { request, lowWater });
    expect(make("a", 9, 5)).toBe("ok");
    expect(make("b", 5, 5)).toBe("ok");
    expect(make("c", 40, 40)).toBe("ok");
    expect(make("d", 39, 5)).toBe("EINVAL");
    expect(make("e", 0, 0)).toBe("EINVAL");
    expect(make("f", 40 + REQUEST_WINDOW_MAX, 40)).toBe("EINVAL");
    expect(make("g", 39 + REQUEST_WINDOW_MAX, 40)).toBe("ok");
    expect(world.attributes(ROOT_INODE).entries).toBe(4);
  });

  test("kept outcomes do not accumulate: the low water drops their pages", () => {
    const world = new World();
    for (let request = 1; request <= 300; request++) {
      world.errorOf(
        { kind: "setattr", inode: ROOT_INODE, mode: request },
        { request, lowWater: Math.max(1, request - 20) },
      );
    }
    const pages = [...world.view.pairs.keys()].filter((key) => key[0] === KEY_PREFIX.outcomes);
    expect(pages.length).toBeLessThanOrEqual(3);
  });

  test("A session that the volume does not know is an error, never a fresh start", () => {
    const world = new World();
    expect(world.errorOf(makeCommand(ROOT_INODE, "f"), { session: 4 as SessionId })).toBe("NOSESSION");
    expect(world.lookup(ROOT_INODE, "f")).toBeUndefined();
  });

  test("a command that fails changes nothing but its session's records and the version", () => {
    const world = new World();
    world.make(ROOT_INODE, "f");
    const before = world.view.clone();
    world.errorOf(makeCommand(ROOT_INODE, "f"));
    const changed = [...world.view.pairs].filter(([key, value]) => String(before.get(key)) !== String(value));
    expect(changed.map(([key]) => key[0]).sort()).toEqual(["H", "N", "Q", "V"]);
  });
});

describe("sessions", () => {
  const open = (session: number, client: string): CommandOf<"openSession"> => ({
    kind: "openSession",
    session: session as SessionId,
    client,
    region: 1 as RegionIndex,
  });

  test("opening is idempotent; another client's id is EEXIST, id 0 EINVAL", () => {
    const world = new World();
    expect(world.errorOf(open(5, "me"))).toBe("ok");
    expect(world.errorOf(open(5, "me"))).toBe("ok");
    expect(world.errorOf(open(5, "you"))).toBe("EEXIST");
    expect(world.errorOf(open(0, "me"))).toBe("EINVAL");
  });

  test("closing releases locks, grants and outcomes, and leaves no key behind", () => {
    const world = new World();
    const before = [...world.view.pairs.keys()].sort();
    const session = 5 as SessionId;
    world.must(open(5, "me"), { session: NO_SESSION_ID });
    const lock = { inode: ROOT_INODE, table: "posix", owner: "o", mode: "write", start: 0, end: 5, pid: 1 } as const;
    world.must({ kind: "lock", ...lock }, { session });
    world.must({ kind: "grantSlices", count: 10 }, { session });
    for (let at = 0; at < 40; at++) world.must({ kind: "setattr", inode: ROOT_INODE, mode: at }, { session });
    world.must({ kind: "closeSession", session }, { session: NO_SESSION_ID });
    expect(world.effects!.unlocked).toEqual([ROOT_INODE]);
    expect([...world.view.pairs.keys()].sort()).toEqual(before);
    expect(world.errorOf({ kind: "closeSession", session }, { session: NO_SESSION_ID })).toBe("ok");
  });

  test("closing revokes the granted ids that were not used: no slice can have them afterwards", () => {
    const world = new World();
    const session = 5 as SessionId;
    world.must(open(5, "me"), { session: NO_SESSION_ID });
    const first = world.grant(10, session);
    const write = (id: number) => ({
      kind: "write" as const,
      inode: file,
      extents: [{ kind: "slice" as const, offset: 0, slice: sliceOf(id) }],
    });
    const sliceOf = (id: number) => ({ id: id as SliceId, bytes: 10, home: 0 as RegionIndex, crc32c: [1] });
    const file = world.make(ROOT_INODE, "f");
    world.must(write(first + 3), { session });
    world.must({ kind: "closeSession", session }, { session: NO_SESSION_ID });
    const left = [
      { first, count: 3 },
      { first: first + 4, count: 6 },
    ];
    expect(world.effects!.revoked).toEqual(left);
    world.must(open(5, "me"), { session: NO_SESSION_ID });
    expect(world.errorOf(write(first), { session })).toBe("ESTALE");
  });

  test("grants: without gaps, to one session, 1…65536 ids at once, ENOSPC at the end of the epoch's counter", () => {
    const world = new World();
    const first = world.grant(10);
    expect(world.grant(10)).toBe(first + 10);
    expect(world.tree.session(SESSION)!.granted).toEqual([{ first, count: 20 }]);
    expect(world.errorOf({ kind: "grantSlices", count: 0 })).toBe("EINVAL");
    expect(world.errorOf({ kind: "grantSlices", count: 65537 })).toBe("EINVAL");
    expect(world.errorOf({ kind: "grantSlices", count: 1 }, { session: NO_SESSION_ID })).toBe("EINVAL");
    world.tree.putVolume({ ...world.tree.volume!, nextSlice: COUNTER_LIMIT - 5, nextInode: COUNTER_LIMIT });
    expect(world.errorOf({ kind: "grantSlices", count: 6 })).toBe("ENOSPC");
    expect(world.errorOf({ kind: "grantSlices", count: 5 })).toBe("ok");
    expect(world.errorOf(makeCommand(ROOT_INODE, "f"))).toBe("ENOSPC");
  });
});

describe("locks", () => {
  function setup() {
    const world = new World();
    const inode = world.make(ROOT_INODE, "f");
    const lock = (
      mode: "read" | "write" | "unlock",
      start: number,
      end: number,
      owner = "x",
      { session = SESSION, table = "posix" as "posix" | "flock" } = {},
    ) => world.errorOf({ kind: "lock", inode, table, owner, mode, start, end, pid: 3 }, { session });
    const held = () =>
      world.tree.locks(inode).map((l) => `${l.owner} ${l.mode} ${l.start}-${l.end === END ? "" : l.end}`);
    return { world, inode, lock, held };
  }

  test("a range in the middle splits a lock; adjacent ranges of one mode are merged", () => {
    const { lock, held } = setup();
    lock("write", 0, 9);
    lock("read", 4, 5);
    expect(held()).toEqual(["x write 0-3", "x read 4-5", "x write 6-9"]);
    lock("write", 4, 5);
    expect(held()).toEqual(["x write 0-9"]);
    lock("unlock", 2, 2);
    expect(held()).toEqual(["x write 0-1", "x write 3-9"]);
    lock("write", 10, END);
    expect(held()).toEqual(["x write 0-1", "x write 3-"]);
  });

  test("read locks are shared, write locks exclusive; session and owner identify the holder", () => {
    const { lock } = setup();
    expect(lock("read", 0, 9)).toBe("ok");
    expect(lock("read", 5, 15, "y")).toBe("ok");
    expect(lock("write", 5, 5)).toBe("EAGAIN");
    expect(lock("write", 0, 4)).toBe("ok");
    expect(lock("read", 0, 0, "x", { session: OTHER_SESSION })).toBe("EAGAIN");
    expect(lock("write", 16, 20, "x", { session: OTHER_SESSION })).toBe("ok");
    expect(lock("read", 9, 3)).toBe("EINVAL");
  });

  test("flock covers the whole file, and does not conflict with POSIX locks", () => {
    const { lock } = setup();
    expect(lock("write", 0, 9)).toBe("ok");
    expect(lock("write", 3, 3, "f", { table: "flock" })).toBe("ok");
    expect(lock("read", 100, 100, "g", { table: "flock" })).toBe("EAGAIN");
  });

  test("releasing a lock is reported, for requests that wait; so is a downgrade to a read lock", () => {
    const { world, inode, lock } = setup();
    lock("write", 0, 9);
    expect(world.effects!.unlocked).toEqual([]);
    lock("read", 0, 9);
    expect(world.effects!.unlocked).toEqual([inode]);
    lock("unlock", 0, END);
    expect(world.effects!.unlocked).toEqual([inode]);
    expect(world.tree.lockedInodes(SESSION)).toEqual([]);
  });

  test("F_GETLK finds the conflicting lock", () => {
    const { world, inode, lock } = setup();
    lock("write", 5, 9);
    const request = { table: "posix", session: OTHER_SESSION, owner: "x", mode: "read", end: END } as const;
    expect(conflictingLock(world.tree.locks(inode), { ...request, start: 0 })).toMatchObject({
      start: 5,
      end: 9,
      pid: 3,
    });
    expect(conflictingLock(world.tree.locks(inode), { ...request, start: 10 })).toBeUndefined();
  });

  test("reaping an inode drops its locks", () => {
    const { world, inode, lock } = setup();
    lock("write", 5, 9);
    world.must({ kind: "unlink", parent: ROOT_INODE, name: bytes("f") });
    world.must({ kind: "reap", inode, chunks: [], xattrs: [] }, { session: NO_SESSION_ID });
    expect(world.tree.lockedInodes(SESSION)).toEqual([]);
    expect(lock("write", 0, 1)).toBe("ESTALE");
    expect(world.tree.attributes(inode as Inode)).toBeUndefined();
  });
});
