import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEntry, encodeFollowed, encodeOutcome } from "../../core/codec.ts";
import type { Command, CommandOf, Extent } from "../../core/commands.ts";
import { applyEntry } from "../../core/entries.ts";
import {
  CHUNK_BYTES,
  type Inode,
  type RegionIndex,
  type SessionId,
  type SliceId,
  type Version,
} from "../../core/ids.ts";
import { checkInvariants } from "../../core/invariants.ts";
import { entryKey, KEY_PREFIX, keyChunk, keyId, keyName } from "../../core/keys.ts";
import { Tree } from "../../core/tree.ts";
import { type Operations, operation } from "./operations.ts";
import { type Node, Reference, ReferenceLocks } from "./reference.ts";
import { bytes, MemoryView, NO_SESSION_ID, ROOT_INODE, SESSION, sliceOf, World } from "./world.ts";

/** core and the reference side by side. */
class Pair {
  readonly world = new World();
  readonly reference = new Reference(ROOT_INODE);
  readonly locks = new ReferenceLocks();
  readonly contents = new Map<SliceId, Uint8Array>();
  readonly inodes: number[] = [ROOT_INODE];
  readonly grants = new Map<SessionId, SliceId[]>();
  readonly requests: { entry: Uint8Array; outcome: Uint8Array; session: SessionId }[] = [];

  constructor() {
    // The root was made by format.
    this.reference.root.mtime = this.world.now.seconds - 2;
    this.reference.root.ctime = this.reference.root.mtime;
    this.reference.root.atime = this.reference.root.mtime;
    const make = { mode: 0o755, uid: 5, gid: 5, target: "t" } as const;
    for (const [name, inodeKind, parent] of [
      ["a", "directory", 1],
      ["b", "directory", 9],
      ["a", "file", 17],
      ["c", "file", 9],
      ["d", "file", 9],
    ] as const) {
      this.do({ kind: "make", name, inodeKind, parent, ...make });
    }
  }

  pick(index: number, fits: (node: Node) => boolean = () => true): Inode {
    const fitting = [...this.reference.nodes.values()].filter(fits).map((node) => node.id);
    const list = index % 8 === 0 || fitting.length === 0 ? this.inodes : fitting;
    return list[Math.floor(index / 8) % list.length] as Inode;
  }

  directory(index: number): Inode {
    return this.pick(index, (node) => node.kind === "directory");
  }

  file(index: number): Inode {
    return this.pick(index, (node) => node.kind === "file");
  }

  /** An entry that is there; now and then (or when there is none) the place that is given instead. */
  entry(index: number, parent: number, name: string): { parent: Inode; name: string } {
    const entries = [...this.reference.nodes.values()].flatMap((node) =>
      [...node.children.keys()].map((child) => ({ parent: node.id as Inode, name: child })),
    );
    if (index % 4 === 0 || entries.length === 0) return { parent: this.directory(parent), name };
    return entries[Math.floor(index / 4) % entries.length]!;
  }

  /** Runs a command, keeps it for retries. @returns the errno or "ok", and the inode it made. */
  run(command: Command, session: SessionId = SESSION): { error: string; inode: number | undefined; size: number } {
    const entry = this.world.entry(command, { session });
    this.reference.now = this.world.now.seconds;
    const applied = this.world.applyBytes(entry);
    if (!applied.taken) throw new Error(applied.refusal);
    const { outcome } = applied;
    if (session !== NO_SESSION_ID) this.requests.push({ entry, outcome: applied.encoded, session });
    expect(encodeOutcome(outcome)).toEqual(applied.encoded);
    const attributes = outcome.ok ? outcome.attributes : undefined;
    if (attributes) expect(this.world.attributes(attributes.inode)).toEqual(attributes);
    return { error: outcome.ok ? "ok" : outcome.error, inode: attributes?.inode, size: attributes?.size ?? 0 };
  }

  do(op: { [K in keyof Operations]: { kind: K } & Operations[K] }[keyof Operations]): void {
    (this.#doers[op.kind] as (op: object) => void)(op);
  }

  readonly #doers: { [K in keyof Operations]: (op: Operations[K]) => void } = {
    make: (op) => {
      const parent = this.directory(op.parent);
      const what = { ...op, parent, name: bytes(op.name), device: 0, target: bytes(op.target) };
      const { error, inode } = this.run({ ...what, kind: "make" });
      expect(this.reference.make(parent, op.name, op.inodeKind, op, inode)).toBe(error);
      if (inode !== undefined) this.inodes.push(inode);
    },
    link: (op) => {
      const at = { inode: this.file(op.inode), parent: this.directory(op.parent), name: bytes(op.name) };
      const { error } = this.run({ kind: "link", ...at });
      expect(this.reference.link(at.inode, at.parent, op.name)).toBe(error);
    },
    remove: (op) => {
      const { parent, name } = this.entry(op.entry, op.parent, op.name);
      const { error } = this.run({ kind: op.directory ? "rmdir" : "unlink", parent, name: bytes(name) });
      expect(this.reference.remove(parent, name, op.directory)).toBe(error);
    },
    rename: (op) => {
      const from = this.entry(op.entry, op.parent, op.name);
      const to = this.entry(op.newEntry % 3 === 0 ? op.newEntry : 0, op.newParent, op.newName);
      const { mode } = op;
      const names = { ...from, name: bytes(from.name), newParent: to.parent, newName: bytes(to.name) };
      const { error } = this.run({ kind: "rename", ...names, mode });
      expect(this.reference.rename(from.parent, from.name, to.parent, to.name, mode)).toBe(error);
    },
    setattr: (op) => {
      const time = (seconds: number | undefined) => (seconds === undefined ? undefined : { seconds, nanoseconds: 0 });
      const target = op.size === undefined ? this.pick(op.inode) : this.file(op.inode);
      const change = { ...op, inode: target, atime: time(op.atime), mtime: time(op.mtime) };
      let ran = this.run({ kind: "setattr", ...change });
      // A large cut goes in steps.
      while (ran.error === "ok" && op.size !== undefined && ran.size !== op.size) {
        ran = this.run({ kind: "setattr", ...change });
      }
      const { mode, uid, gid, size, atime, mtime, killPrivileges } = op;
      const changes = { mode, uid, gid, size, atime, mtime, killPrivileges };
      expect(this.reference.setattr(target, changes)).toBe(ran.error);
    },
    write: (op) => this.#write(op),
    fallocate: (op) => {
      const target = this.file(op.inode);
      const { error } = this.run({ ...op, kind: "fallocate", inode: target });
      expect(this.reference.fallocate(target, op.mode, op.offset, op.length)).toBe(error);
    },
    setxattr: (op) => {
      const target = this.pick(op.inode);
      const value = new TextEncoder().encode(op.value);
      const { error } = this.run({ kind: "setxattr", inode: target, name: bytes(op.name), value, mode: op.mode });
      expect(this.reference.setxattr(target, op.name, op.value, op.mode)).toBe(error);
    },
    removexattr: (op) => {
      const target = this.pick(op.inode);
      const { error } = this.run({ kind: "removexattr", inode: target, name: bytes(op.name) });
      expect(this.reference.removexattr(target, op.name)).toBe(error);
    },
    lock: (op) => {
      const target = this.pick(op.inode);
      const { error } = this.run({ ...op, kind: "lock", inode: target, pid: 1 } as CommandOf<"lock">, op.session);
      const range = op.table === "flock" ? { start: 0, end: Number.MAX_SAFE_INTEGER } : op;
      const expected =
        op.start > op.end
          ? "EINVAL"
          : this.reference.nodes.has(target)
            ? this.locks.lock(`${target} ${op.table}`, `${op.session} ${op.owner}`, op.mode, range)
            : "ESTALE";
      expect(error).toBe(expected);
    },
    reopen: ({ session }) => {
      const before = this.world.view.pairs.size;
      expect(before).toBeGreaterThan(0);
      this.world.must({ kind: "closeSession", session }, { session: NO_SESSION_ID });
      const client = `client ${session}`;
      this.world.must({ kind: "openSession", session, client, region: 0 as RegionIndex }, { session: NO_SESSION_ID });
      this.locks.forget((_, holder) => holder.startsWith(`${session} `));
      this.grants.delete(session);
      // A new session of that number remembers nothing of the old one's requests.
      this.requests.splice(0, this.requests.length, ...this.requests.filter((kept) => kept.session !== session));
    },
    reap: (op) =>
      this.#reap(
        this.pick(op.inode, (node) => this.reference.links(node) === 0),
        op.partly,
      ),
    retry: ({ back }) => {
      const again = this.requests.at(-1 - back);
      if (again === undefined) return;
      const before = this.world.tree.version.sequence;
      const applied = this.world.applyBytes(again.entry);
      expect(applied).toMatchObject({ taken: true, encoded: again.outcome });
      expect(this.world.tree.version.sequence).toBe(before + 1);
      expect(this.world.effects).toMatchObject({ touched: [], slicesAdded: [], slicesDropped: [], orphaned: [] });
    },
  };

  #write(op: Operations["write"]): void {
    const target = this.file(op.inode);
    const ids = this.grants.get(op.session) ?? [];
    this.grants.set(op.session, ids);
    if (ids.length < op.pieces.length) {
      const first = this.world.grant(3, op.session);
      ids.push(first, (first + 1) as SliceId, (first + 2) as SliceId);
    }
    const pieces: { offset: number; data: Uint8Array }[] = [];
    const extents: Extent[] = [];
    const taken: SliceId[] = [];
    for (const [at, piece] of op.pieces.entries()) {
      const room = CHUNK_BYTES - (piece.offset % CHUNK_BYTES);
      const data = new Uint8Array(Math.min(piece.length, room)).map((_, byte) => op.fill + at * 40 + byte);
      pieces.push({ offset: piece.offset, data });
      if (!piece.slice) {
        extents.push({ kind: "inline", offset: piece.offset, data });
        continue;
      }
      // From the back, so that a range is used out of order too.
      const id = ids.at(-1 - taken.length)!;
      taken.push(id);
      this.contents.set(id, data);
      extents.push({ kind: "slice", offset: piece.offset, slice: sliceOf(id, data.length) });
    }
    const { killPrivileges } = op;
    const { error } = this.run({ kind: "write", inode: target, extents, killPrivileges }, op.session);
    expect(this.reference.write(target, pieces, killPrivileges)).toBe(error);
    if (error === "ok") ids.splice(ids.length - taken.length);
  }

  #reap(target: Inode, partly: boolean): void {
    const chunks: number[] = [];
    const xattrs = [];
    for (const key of this.world.view.pairs.keys()) {
      if (key[0] === KEY_PREFIX.chunk && keyId(key) === target) chunks.push(keyChunk(key));
      if (key[0] === KEY_PREFIX.xattr && keyId(key) === target) xattrs.push(keyName(key));
    }
    const named = partly ? chunks.slice(1) : chunks;
    const { error } = this.run({ kind: "reap", inode: target, chunks: named, xattrs }, NO_SESSION_ID);
    const node = this.reference.nodes.get(target);
    const isOrphan = node !== undefined && this.reference.links(node) === 0;
    expect(error).toBe(isOrphan ? "ok" : "ENOENT");
    if (node === undefined || !isOrphan) return;
    if (partly && chunks.length > 0) {
      node.xattrs.clear();
      for (const at of [...node.bytes.keys()]) if (named.includes(Math.floor(at / CHUNK_BYTES))) node.bytes.delete(at);
      return;
    }
    this.reference.nodes.delete(target);
    this.locks.forget((where) => where.startsWith(`${target} `));
    expect(this.world.attributes(target)).toBeUndefined();
  }

  compare(): void {
    const alive = [...this.world.view.pairs.keys()].filter((key) => key[0] === KEY_PREFIX.attributes).map(keyId);
    expect(alive.sort()).toEqual([...this.reference.nodes.keys()].sort());
    for (const node of this.reference.nodes.values()) this.#compareNode(node);
    expect(this.#heldLocks()).toEqual(this.locks.list());
  }

  #compareNode(node: Node): void {
    const inode = node.id as Inode;
    const { kind, mode, uid, gid, links, size, usedBytes, entries, xattrs, ...a } = this.world.attributes(inode);
    expect({ kind, mode, uid, gid, links, size, usedBytes, entries, xattrs }).toEqual({
      kind: node.kind,
      mode: node.mode,
      uid: node.uid,
      gid: node.gid,
      links: this.reference.links(node),
      size: node.size,
      usedBytes: node.bytes.size,
      entries: node.children.size,
      xattrs: node.xattrs.size,
    });
    const { mtime, ctime, atime } = node;
    expect([a.mtime.seconds, a.ctime.seconds, a.atime.seconds]).toEqual([mtime, ctime, atime]);
    for (const [name, child] of node.children) expect(this.world.lookup(inode, name)).toBe(child.id);
    for (const [name, value] of node.xattrs) {
      expect(new TextDecoder().decode(this.world.tree.xattr(inode, bytes(name)))).toBe(value);
    }
    if (kind === "symlink") expect(this.world.tree.symlink(inode)).toBe(node.target);
    expect(this.#content(inode)).toEqual(node.bytes);
  }

  /** Offset → byte, as a reader puts it together from chunks and slices. */
  #content(inode: Inode): Map<number, number> {
    const content = new Map<number, number>();
    for (const key of this.world.view.pairs.keys()) {
      if (key[0] !== KEY_PREFIX.chunk || keyId(key) !== inode) continue;
      const start = keyChunk(key) * CHUNK_BYTES;
      for (const segment of this.world.tree.chunk(inode, keyChunk(key))!.segments) {
        const data =
          segment.kind === "inline"
            ? segment.data
            : this.contents.get(segment.slice)!.subarray(segment.sliceOffset, segment.sliceOffset + segment.length);
        data.forEach((byte, at) => {
          content.set(start + segment.offset + at, byte);
        });
      }
    }
    return content;
  }

  #heldLocks(): string[] {
    const all: string[] = [];
    for (const inode of this.reference.nodes.keys()) {
      for (const lock of this.world.tree.locks(inode as Inode)) {
        for (let at = lock.start; at <= Math.min(lock.end, ReferenceLocks.END); at++) {
          all.push(`${inode} ${lock.table} ${lock.session} ${lock.owner} ${at} ${lock.mode}`);
        }
      }
    }
    return all.sort();
  }
}

/** The same log followed elsewhere, a cold tree after every few entries: bytes and hash must come out the same. */
function follow(log: readonly Uint8Array[], entriesPerTurn: number): { view: MemoryView; hash: string } {
  const view = new MemoryView();
  let tree = new Tree(view, { cacheBytes: 2000 });
  let previous: Version = tree.version;
  log.forEach((bytes, at) => {
    const applied = applyEntry(tree, decodeEntry(encodeFollowed(previous, decodeEntry(bytes).body)));
    if (applied.taken) previous = applied.version;
    if (at % entriesPerTurn !== entriesPerTurn - 1) return;
    view.write(tree.takeTurn().puts);
    tree = new Tree(view, { cacheBytes: 2000 });
  });
  const last = tree.takeTurn();
  view.write(last.puts);
  return { view, hash: last.stateHash };
}

// Promise: Any sequence of operations leaves what a plain file system would have left, and every region comes to the
// same bytes
test("core does what a naive file system does, and every region comes to the same bytes", () => {
  fc.assert(
    fc.property(
      fc.noBias(fc.array(operation, { minLength: 1, maxLength: 80, size: "max" })),
      fc.integer({ min: 1, max: 9 }),
      (ops, turn) => {
        const pair = new Pair();
        for (const op of ops) {
          pair.do(op);
          pair.compare();
        }
        const followed = follow(pair.world.log, turn);
        expect(followed.hash).toBe(pair.world.tree.stateHash);
        expect(followed.view.pairs).toEqual(pair.world.view.pairs);
        expect(checkInvariants(followed.view.pairs)).toEqual([]);
      },
    ),
    { numRuns: 120 },
  );
});

test("a directory's entries in the state are those that a walk of its prefix finds", () => {
  const world = new World();
  world.make(ROOT_INODE, "a");
  world.make(ROOT_INODE, "b", "directory");
  const prefix = entryKey(ROOT_INODE, bytes(""));
  const names = [...world.view.pairs.keys()].filter((key) => key.startsWith(prefix)).map(keyName);
  expect(names.sort()).toEqual(["a", "b"]);
});
