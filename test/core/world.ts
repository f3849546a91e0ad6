import { expect } from "vitest";
import { decodeEntry, encodeCommand, encodeProposed } from "../../core/codec.ts";
import type { Attributes, Command, CommandOf, InodeKind, Outcome } from "../../core/commands.ts";
import { type AppliedEntry, applyEntry } from "../../core/entries.ts";
import {
  type ByteString,
  type EpochCode,
  type Inode,
  type RegionIndex,
  ROOT_INODE,
  type SessionId,
  type SliceId,
  type Time,
} from "../../core/ids.ts";
import { checkInvariants } from "../../core/invariants.ts";
import { type Effects, type KeyValueView, Tree } from "../../core/tree.ts";

export const bytes = (text: string) => text as ByteString;
export const SESSION = 7001 as SessionId;
export const OTHER_SESSION = 7002 as SessionId;
export const NO_SESSION_ID = 0 as SessionId;
export const MIB = 1024 * 1024;

/** A stored state, in memory. */
export class MemoryView implements KeyValueView {
  readonly pairs = new Map<ByteString, Uint8Array>();

  get(key: ByteString): Uint8Array | undefined {
    return this.pairs.get(key);
  }

  write(puts: ReadonlyMap<ByteString, Uint8Array | undefined>): void {
    for (const [key, value] of puts) {
      if (value === undefined) this.pairs.delete(key);
      else this.pairs.set(key, value);
    }
  }

  clone(): MemoryView {
    const copy = new MemoryView();
    for (const [key, value] of this.pairs) copy.pairs.set(key, value.slice());
    return copy;
  }
}

export interface RunOptions {
  readonly session?: SessionId;
  readonly request?: number;
  readonly lowWater?: number;
  readonly epoch?: EpochCode;
}

/** A volume of two regions with two open sessions. Each command is a turn of its own; the invariants are checked after it. */
export class World {
  readonly view: MemoryView;
  /** The encoded entries, as in a log. */
  readonly log: Uint8Array[] = [];
  tree: Tree;
  /** Of the last command. */
  effects: Effects | undefined;
  #requests = new Map<SessionId, number>();
  #clock = 1_000;
  /** Whether the invariants are checked. Tests that edit records themselves, or run many commands, switch it off. */
  checked = true;

  constructor(view = new MemoryView()) {
    this.view = view;
    this.tree = new Tree(view);
    if (view.pairs.size > 0) return;
    this.run(
      { kind: "format", uuid: "u", volume: "v", regions: ["aws", "gcp"], primary: 0 as RegionIndex, features: 1 },
      { session: NO_SESSION_ID },
    );
    for (const session of [SESSION, OTHER_SESSION]) {
      this.run({ kind: "openSession", session, client: `client ${session}`, region: 0 as RegionIndex });
    }
  }

  get now(): Time {
    return { seconds: this.#clock, nanoseconds: 5 };
  }

  entry(command: Command, options: RunOptions = {}): Uint8Array {
    this.#clock++;
    const session = options.session ?? SESSION;
    const request = options.request ?? (this.#requests.get(session) ?? 0) + 1;
    this.#requests.set(session, Math.max(request, this.#requests.get(session) ?? 0));
    const epoch = options.epoch ?? this.tree.version.epoch;
    const stamp = { epoch, now: this.now, session, request, lowWater: options.lowWater ?? Math.max(1, request - 100) };
    return encodeProposed(stamp, encodeCommand(command));
  }

  applyBytes(entry: Uint8Array): AppliedEntry {
    this.log.push(entry);
    const applied = applyEntry(this.tree, decodeEntry(entry));
    const turn = this.tree.takeTurn();
    this.view.write(turn.puts);
    this.effects = turn.effects.at(-1);
    if (this.checked) expect(checkInvariants(this.view.pairs)).toEqual([]);
    return applied;
  }

  run(command: Command, options: RunOptions = {}): Outcome {
    const applied = this.applyBytes(this.entry(command, options));
    if (!applied.taken) throw new Error(`refused: ${applied.refusal}`);
    return applied.outcome;
  }

  /** The errno's name, or "ok". */
  errorOf(command: Command, options: RunOptions = {}): string {
    const outcome = this.run(command, options);
    return outcome.ok ? "ok" : outcome.error;
  }

  /** Runs a command that must succeed. */
  must(command: Command, options: RunOptions = {}): Extract<Outcome, { ok: true }> {
    const outcome = this.run(command, options);
    if (!outcome.ok) throw new Error(`${command.kind}: ${outcome.error}`);
    return outcome;
  }

  make(parent: Inode, name: string, inodeKind: InodeKind = "file", more: Partial<CommandOf<"make">> = {}): Inode {
    return this.must(makeCommand(parent, name, inodeKind, more)).attributes!.inode;
  }

  attributes(inode: Inode): Attributes {
    return this.tree.attributes(inode)!;
  }

  grant(count: number, session = SESSION): SliceId {
    return this.must({ kind: "grantSlices", count }, { session }).grant!.first;
  }

  lookup(parent: Inode, name: string): Inode | undefined {
    return this.tree.entry(parent, bytes(name))?.inode;
  }
}

export function makeCommand(
  parent: Inode,
  name: string,
  inodeKind: InodeKind = "file",
  more: Partial<CommandOf<"make">> = {},
): CommandOf<"make"> {
  const fields = {
    mode: 0o644,
    uid: 1000,
    gid: 100,
    device: 0,
    target: bytes(inodeKind === "symlink" ? "target" : ""),
  };
  return { kind: "make", parent, name: bytes(name), inodeKind, ...fields, ...more };
}

/** A slice of `length` bytes. Its checksums are arbitrary, since core does not verify them. */
export function sliceOf(id: SliceId, length: number) {
  const crc32c = Array.from({ length: Math.ceil(length / (4 * MIB)) }, (_, block) => (id % 1000) + block);
  return { id, bytes: length, home: 0 as RegionIndex, crc32c };
}

export { ROOT_INODE };
