import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEntry, encodeFollowed, encodeOutcome } from "../../core/codec.ts";
import { COMMANDS, type Command, type CommandKind, type Extent, type Outcome } from "../../core/commands.ts";
import { applyEntry } from "../../core/entries.ts";
import {
  type ByteString,
  CHUNK_BYTES,
  type Inode,
  type RegionIndex,
  type SessionId,
  type SliceId,
  type Version,
} from "../../core/ids.ts";
import { checkInvariants } from "../../core/invariants.ts";
import { entryKey, KEY_PREFIX, keyChunk, keyId, keyName } from "../../core/keys.ts";
import { RESERVED_DIRECTORIES } from "../../core/reserved.ts";
import { Tree } from "../../core/tree.ts";
import { type Operations, operation } from "./operations.ts";
import { type Node, Reference, ReferenceLocks } from "./reference.ts";
import { bytes, MemoryView, NO_SESSION_ID, ROOT_INODE, SESSION, sliceOf, World } from "./world.ts";

/** The kinds of command that the model has run. */
const exercised = new Set<CommandKind>();

/** Core and the reference model side by side: every command goes to both. */
class Pair {
  readonly world = new World();
  /** The root's times are those of `format`, which is two commands (openSession) ago. */
  readonly reference = new Reference(ROOT_INODE, this.world.now.seconds - 2);
  readonly inodes: number[] = [ROOT_INODE];
  readonly grants = new Map<SessionId, SliceId[]>();
  readonly requests: { entry: Uint8Array; outcome: Uint8Array; session: SessionId }[] = [];

  constructor() {
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

  /** An existing entry; for one index in four, or when there is none, the given place instead. */
  entry(index: number, parent: number, name: string): { parent: Inode; name: ByteString } {
    const entries = [...this.reference.nodes.values()].flatMap((node) =>
      [...node.children.keys()].map((child) => ({ parent: node.id as Inode, name: bytes(child) })),
    );
    if (index % 4 === 0 || entries.length === 0) return { parent: this.directory(parent), name: bytes(name) };
    return entries[Math.floor(index / 4) % entries.length]!;
  }

  /** Runs a command on both, compares the results, and keeps the request for retries. */
  run(command: Command, session: SessionId = SESSION): Outcome {
    exercised.add(command.kind);
    const entry = this.world.entry(command, { session });
    const applied = this.world.applyBytes(entry);
    if (!applied.taken) throw new Error(applied.refusal);
    const { outcome, encoded } = applied;
    if (session !== NO_SESSION_ID) this.requests.push({ entry, outcome: encoded, session });
    expect(encodeOutcome(outcome)).toEqual(encoded);
    const attributes = outcome.ok ? outcome.attributes : undefined;
    if (attributes) expect(this.world.attributes(attributes.inode)).toEqual(attributes);
    const request = { session, now: this.world.now.seconds, made: attributes?.inode };
    expect(this.reference.run(command, request)).toBe(outcome.ok ? "ok" : outcome.error);
    return outcome;
  }

  do(op: { [K in keyof Operations]: { kind: K } & Operations[K] }[keyof Operations]): void {
    (this.#runners[op.kind] as (op: object) => void)(op);
  }

  /** Each turns an operation's numbers into a command that fits the tree as it is now. */
  readonly #runners: { [K in keyof Operations]: (op: Operations[K]) => void } = {
    make: (op) => {
      const names = { parent: this.directory(op.parent), name: bytes(op.name), target: bytes(op.target) };
      const outcome = this.run({ ...op, kind: "make", ...names, device: 0 });
      if (outcome.ok) this.inodes.push(outcome.attributes!.inode);
    },
    link: (op) => {
      this.run({ kind: "link", inode: this.file(op.inode), parent: this.directory(op.parent), name: bytes(op.name) });
    },
    remove: (op) => {
      this.run({ kind: op.directory ? "rmdir" : "unlink", ...this.entry(op.entry, op.parent, op.name) });
    },
    rename: (op) => {
      const from = this.entry(op.entry, op.parent, op.name);
      const to = this.entry(op.newEntry % 3 === 0 ? op.newEntry : 0, op.newParent, op.newName);
      this.run({ kind: "rename", ...from, newParent: to.parent, newName: to.name, mode: op.mode });
    },
    setattr: (op) => this.#setattr(op),
    write: (op) => this.#write(op),
    fallocate: (op) => {
      this.run({ ...op, kind: "fallocate", inode: this.file(op.inode) });
    },
    setxattr: (op) => {
      const value = new TextEncoder().encode(op.value);
      this.run({ kind: "setxattr", inode: this.pick(op.inode), name: bytes(op.name), value, mode: op.mode });
    },
    removexattr: (op) => {
      this.run({ kind: "removexattr", inode: this.pick(op.inode), name: bytes(op.name) });
    },
    lock: ({ session, ...op }) => {
      this.run({ ...op, kind: "lock", inode: this.pick(op.inode), pid: 1 }, session);
    },
    reopen: ({ session }) => {
      this.run({ kind: "closeSession", session }, NO_SESSION_ID);
      const client = `client ${session}`;
      this.run({ kind: "openSession", session, client, region: 0 as RegionIndex }, NO_SESSION_ID);
      this.grants.delete(session);
      // The new session has the number of the old one, and none of its kept outcomes.
      this.requests.splice(0, this.requests.length, ...this.requests.filter((kept) => kept.session !== session));
    },
    reap: (op) => {
      const orphan = this.pick(op.inode, (node) => this.reference.links(node) === 0);
      this.#reap(orphan, op.partly);
    },
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

  #setattr({ inode, atime, mtime, ...op }: Operations["setattr"]): void {
    const time = (seconds: number | undefined) => (seconds === undefined ? undefined : { seconds, nanoseconds: 0 });
    const target = op.size === undefined ? this.pick(inode) : this.file(inode);
    const command = { kind: "setattr", inode: target, ...op, atime: time(atime), mtime: time(mtime) } as const;
    let outcome = this.run(command);
    // A large truncation takes several commands.
    while (op.size !== undefined && outcome.ok && outcome.attributes!.size !== op.size) outcome = this.run(command);
  }

  #write(op: Operations["write"]): void {
    const ids = this.grants.get(op.session) ?? [];
    this.grants.set(op.session, ids);
    if (ids.length < op.pieces.length) ids.push(...this.#grant(op.session));
    const extents: Extent[] = [];
    const taken: SliceId[] = [];
    for (const [at, piece] of op.pieces.entries()) {
      const room = CHUNK_BYTES - (piece.offset % CHUNK_BYTES);
      const data = new Uint8Array(Math.min(piece.length, room)).map((_, byte) => op.fill + at * 40 + byte);
      if (!piece.slice) {
        extents.push({ kind: "inline", offset: piece.offset, data });
        continue;
      }
      // From the back, so that a range is used out of order too.
      const id = ids.at(-1 - taken.length)!;
      taken.push(id);
      this.reference.slices.set(id, data);
      extents.push({ kind: "slice", offset: piece.offset, slice: sliceOf(id, data.length) });
    }
    const { killPrivileges } = op;
    const outcome = this.run({ kind: "write", inode: this.file(op.inode), extents, killPrivileges }, op.session);
    if (outcome.ok) ids.splice(ids.length - taken.length);
  }

  #grant(session: SessionId): SliceId[] {
    const outcome = this.run({ kind: "grantSlices", count: 3 }, session);
    const { first } = (outcome as Extract<Outcome, { ok: true }>).grant!;
    return [first, (first + 1) as SliceId, (first + 2) as SliceId];
  }

  /** `partly`: the first chunk is left out, as by a leader that reaps in steps. */
  #reap(target: Inode, partly: boolean): void {
    const chunks: number[] = [];
    const xattrs: ByteString[] = [];
    for (const key of this.world.view.pairs.keys()) {
      if (key[0] === KEY_PREFIX.chunk && keyId(key) === target) chunks.push(keyChunk(key));
      if (key[0] === KEY_PREFIX.xattr && keyId(key) === target) xattrs.push(keyName(key));
    }
    this.run({ kind: "reap", inode: target, chunks: partly ? chunks.slice(1) : chunks, xattrs }, NO_SESSION_ID);
    expect(this.world.attributes(target) === undefined).toBe(!this.reference.nodes.has(target));
  }

  compare(): void {
    const alive = [...this.world.view.pairs.keys()].filter((key) => key[0] === KEY_PREFIX.attributes).map(keyId);
    const reserved = RESERVED_DIRECTORIES.map(({ inode }) => inode);
    expect(alive.filter((inode) => !reserved.includes(inode as Inode)).sort()).toEqual(
      [...this.reference.nodes.keys()].sort(),
    );
    for (const node of this.reference.nodes.values()) this.#compareNode(node);
    expect(this.#heldLocks()).toEqual(this.reference.locks.list());
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
      expect(this.world.tree.xattr(inode, bytes(name))).toEqual(value);
    }
    if (kind === "symlink") expect(this.world.tree.symlink(inode)).toBe(node.target);
    expect(this.#content(inode)).toEqual(node.bytes);
  }

  /** Offset → byte, assembled from chunks and slices as a reader does. */
  #content(inode: Inode): Map<number, number> {
    const content = new Map<number, number>();
    for (const key of this.world.view.pairs.keys()) {
      if (key[0] !== KEY_PREFIX.chunk || keyId(key) !== inode) continue;
      const start = keyChunk(key) * CHUNK_BYTES;
      for (const segment of this.world.tree.chunk(inode, keyChunk(key))!.segments) {
        const data =
          segment.kind === "inline"
            ? segment.data
            : this.reference.slices
                .get(segment.slice)!
                .subarray(segment.sliceOffset, segment.sliceOffset + segment.length);
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

/** Applies a log as a mirror does, with a turn and a restart every `entriesPerTurn` entries. */
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

test("Any sequence of operations leaves what a plain file system would have left, and every region comes to the same bytes", () => {
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
  const epochs: CommandKind[] = ["format", "beginEpoch", "seal", "setFeatures", "regionProgress"]; // in entries.test.ts
  const kinds = Object.keys(COMMANDS).filter((kind) => !epochs.includes(kind as CommandKind));
  expect([...exercised].sort()).toEqual(kinds.sort());
});

test("a scan of a directory's prefix finds its entries", () => {
  const world = new World();
  world.make(ROOT_INODE, "a");
  world.make(ROOT_INODE, "b", "directory");
  const prefix = entryKey(ROOT_INODE, bytes(""));
  const hidden = bytes(".mirrorfs");
  const names = [...world.view.pairs.keys()].filter((key) => key.startsWith(prefix)).map(keyName);
  expect(names.sort()).toEqual([hidden, "a", "b"]);
});
