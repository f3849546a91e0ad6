/** What the simulated clients do: the operations they draw, and their requests and answers. */
import type { ClientSession } from "../../client/volume/metadata/client-session.ts";
import type { Router } from "../../client/volume/metadata/router.ts";
import { decodeAttributes, decodeChunk } from "../../core/codec.ts";
import type { Command, Slice } from "../../core/commands.ts";
import { BLOCK_BYTES, type ByteString, type Inode, type RegionIndex, type SliceId } from "../../core/ids.ts";
import { type Response, Status } from "../../proto/generated/metadata.ts";
import { contentOf, UNIT_BYTES } from "./checks/content.ts";
import { type Completion, completionOf, type Invocation, type Lock } from "./checks/tree-model.ts";
import type { Prng } from "./environment/prng.ts";

export type RequestBody = Parameters<Router["read"]>[0];

/** So few names that operations of different clients collide. */
const NAMES = ["a", "b", "c", "d"] as const;
/** The longest file, in units. */
const UNITS_MAX = 12;
/** The longest slice: several blocks. */
const SLICE_UNITS_MAX = 9;

/** A directory, and what a client has seen in it. */
export interface WorkDirectory {
  readonly inode: number;
  readonly known: number[];
  /** Names with the inodes that they had when they were last seen. */
  readonly names: Map<string, number>;
}

export interface DrawOptions {
  readonly readOnly: boolean;
  readonly directory: WorkDirectory;
  readonly directories: readonly WorkDirectory[];
  /** Inodes that the client has open. */
  readonly open: readonly number[];
  /** Locks that it holds. */
  readonly locks: readonly Lock[];
  /** A number that no other operation has: an owner. */
  readonly nextNumber: () => number;
  readonly clientName: string;
}

type Draw = () => Invocation;

export function drawInvocation(prng: Prng, options: DrawOptions): Invocation {
  const { readOnly, directory, open } = options;
  const name = prng.pick(NAMES);
  const reads: Draw[] = [() => ({ kind: "lookup", name }), () => ({ kind: "lookup", name }), () => ({ kind: "list" })];
  if (directory.names.size > 0) {
    const [known, inode] = prng.pick([...directory.names]);
    reads.push(() => ({ kind: "open", name: known, inode }));
  }
  if (open.length > 0) {
    const inode = prng.pick(open);
    reads.push(
      () => ({ kind: "getattr", inode, isOpen: true }),
      () => ({ kind: "getattr", inode, isOpen: true }),
      () => ({ kind: "read", inode, isOpen: true }),
    );
  }
  if (readOnly) return prng.pick(reads)();
  const draws = [...reads, ...nameChanges(prng, options, name)];
  if (directory.known.length > 0) draws.push(...inodeOperations(prng, options, name));
  return prng.pick(draws)();
}

function nameChanges(prng: Prng, { directory, directories }: DrawOptions, name: string): Draw[] {
  return [
    () => ({ kind: "make", name, isDirectory: prng.chance(0.2) }),
    () => ({ kind: "make", name, isDirectory: false }),
    () => ({ kind: "unlink", name }),
    () => ({ kind: "unlink", name }),
    () => ({ kind: "rmdir", name }),
    () => ({
      kind: "rename",
      name,
      to: prng.pick(NAMES),
      toDirectory: prng.chance(0.4) ? prng.pick(directories).inode : directory.inode,
      mode: prng.pick(["replace", "replace", "noreplace", "exchange"] as const),
    }),
  ];
}

function inodeOperations(prng: Prng, options: DrawOptions, name: string): Draw[] {
  const { directory, locks, nextNumber, clientName } = options;
  const inode = prng.pick(directory.known);
  const draws: Draw[] = [
    () => ({ kind: "setOwner", inode, owner: nextNumber() }),
    () => ({ kind: "truncate", inode, size: prng.below(UNITS_MAX) }),
    () => ({ kind: "getattr", inode, isOpen: false }),
    () => ({ kind: "read", inode, isOpen: false }),
    () => ({ kind: "link", inode, name }),
    () => ({
      kind: "lock",
      inode,
      owner: `${clientName} ${nextNumber()}`,
      mode: prng.pick(["read", "write", "write"] as const),
    }),
  ];
  if (locks.length > 0) {
    const held = prng.pick(locks);
    draws.push(
      () => ({ kind: "unlock", ...held }),
      () => ({ kind: "unlock", ...held }),
    );
  }
  return draws;
}

/** A write of up to `SLICE_UNITS_MAX` units, which are up to three blocks, at a place in the file. */
export function drawWrite(prng: Prng, inode: number, slice: number, home: number): Invocation {
  const units = 1 + prng.below(SLICE_UNITS_MAX);
  return { kind: "write", inode, at: prng.below(UNITS_MAX - units + 1), units, slice, home };
}

export function makeCommand(parent: number, name: string, isDirectory: boolean): Command {
  return {
    kind: "make",
    parent: parent as Inode,
    name: name as ByteString,
    inodeKind: isDirectory ? "directory" : "file",
    mode: 0o755,
    uid: 0,
    gid: 0,
    device: 0,
    target: "" as ByteString,
  };
}

/** The command of a change; undefined for a read. */
export function commandOf(directory: number, invocation: Invocation): Command | undefined {
  const parent = directory as Inode;
  switch (invocation.kind) {
    case "make":
      return makeCommand(directory, invocation.name, invocation.isDirectory);
    case "unlink":
    case "rmdir":
      return { kind: invocation.kind, parent, name: invocation.name as ByteString };
    case "link":
      return { kind: "link", inode: invocation.inode as Inode, parent, name: invocation.name as ByteString };
    case "rename": {
      const { name, to, toDirectory, mode } = invocation;
      const [newParent, newName] = [toDirectory as Inode, to as ByteString];
      return { kind: "rename", parent, name: name as ByteString, newParent, newName, mode };
    }
    case "setOwner":
      return { kind: "setattr", inode: invocation.inode as Inode, uid: invocation.owner };
    case "truncate":
      return { kind: "setattr", inode: invocation.inode as Inode, size: invocation.size * UNIT_BYTES };
    case "write":
      return writeCommand(invocation);
    case "lock":
    case "unlock":
      return lockCommand(invocation);
    default:
      return undefined;
  }
}

function writeCommand({ inode, at, units, slice: id, home }: Extract<Invocation, { kind: "write" }>): Command {
  const bytes = units * UNIT_BYTES;
  const crc32c = Array.from({ length: Math.ceil(bytes / BLOCK_BYTES) }, (_, block) => (id + block) % 2 ** 32);
  const slice: Slice = { id: id as SliceId, bytes, home: home as RegionIndex, crc32c };
  return { kind: "write", inode: inode as Inode, extents: [{ kind: "slice", offset: at * UNIT_BYTES, slice }] };
}

function lockCommand({ kind, inode, owner, mode }: Extract<Invocation, Lock>): Command {
  return {
    kind: "lock",
    inode: inode as Inode,
    table: "posix",
    owner,
    mode: kind === "unlock" ? "unlock" : mode,
    start: 0,
    end: Number.MAX_SAFE_INTEGER,
    pid: 1,
  };
}

export function readOf(directory: number, invocation: Invocation): RequestBody {
  switch (invocation.kind) {
    case "lookup":
      return { $case: "lookup", value: { parent: directory, name: Buffer.from(invocation.name, "latin1") } };
    case "getattr":
      return { $case: "getAttributes", value: { inode: invocation.inode } };
    case "read":
      return { $case: "readChunks", value: { inode: invocation.inode, first: 0, count: 1 } };
    case "open": {
      const { inode, name } = invocation;
      const beliefs = [{ parent: directory, name: Buffer.from(name, "latin1"), inode }];
      return { $case: "open", value: { inode, beliefs, chunks: 1 } };
    }
    default: {
      const value = { inode: directory, after: Buffer.alloc(0), limit: 100, attributes: false };
      return { $case: "readDirectory", value };
    }
  }
}

/** Undefined: the change's outcome is indeterminate. */
export function completionOfChange(done: Awaited<ReturnType<ClientSession["mutate"]>>): Completion | undefined {
  if (done === "EIO" || done === "EINTR") return undefined;
  return typeof done === "string" ? { error: done } : completionOf(done.outcome);
}

export function completionOfRead({ kind }: Invocation, answer: Response): Completion {
  if (answer.status !== Status.OK) return { error: answer.error };
  if (kind === "list") {
    return { error: "", entries: answer.entries.map(({ name, inode }) => [name.toString("latin1"), inode] as const) };
  }
  const [chunk] = answer.chunks;
  const content = kind === "open" || kind === "read" ? contentOf(chunk && decodeChunk(chunk.chunk)) : undefined;
  if (kind === "read") return { error: "", content };
  const { inode, links, uid, size } = decodeAttributes(answer.attributes);
  return { error: "", inode, links, owner: uid, size, content };
}
