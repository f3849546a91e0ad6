/**
 * Records a log of the highest feature level, with the state hash that it results in:
 * `node test/core/recorded/main.ts` writes `level-N.txt`. A level's log is recorded when the level is made, and is never
 * recorded again once a version of the program with that level has been released: its entries are in volumes then, and must
 * result in the same state for ever.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Beginning, Command, InodeKind } from "../../../core/commands.ts";
import { FEATURE_LEVEL } from "../../../core/features.ts";
import {
  type ByteString,
  CHUNK_BYTES,
  epochCode,
  epochNumber,
  epochRegion,
  type Inode,
  type RegionIndex,
  type SessionId,
} from "../../../core/ids.ts";
import { KEY_PREFIX, keyChunk, keyId, keyName } from "../../../core/keys.ts";
import { forcedNumberAbove } from "../../../core/sequencer.ts";
import { randomFrom } from "../../random.ts";
import { bytes, makeCommand, NO_SESSION_ID, OTHER_SESSION, ROOT_INODE, SESSION, sliceOf, World } from "../world.ts";

const STEPS = 900;
const KINDS: readonly InodeKind[] = ["file", "file", "directory", "symlink", "fifo", "character", "block", "socket"];

class Recorder {
  readonly world = new World();
  readonly #random = randomFrom(20261124);
  readonly #inodes: Inode[] = [ROOT_INODE, 3 as Inode, 4 as Inode];
  #session = SESSION;

  constructor() {
    this.world.checked = false;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  /** Some commands fail: a failed one takes its sequence too. */
  #run(command: Command, session: SessionId = this.#session): void {
    const outcome = this.world.run(command, { session });
    if (command.kind === "make" && outcome.ok) this.#inodes.push(outcome.attributes!.inode);
  }

  step(at: number): void {
    if (at % 120 === 119) this.#beginEpoch((at - 119) / 120);
    if (at % 60 === 59) this.#reopen();
    this.#session = this.#pick([SESSION, SESSION, OTHER_SESSION]);
    this.#pick(this.#actions)();
  }

  readonly #name = (): ByteString => bytes(this.#pick(["a", "b", "c", "d", "\xc3\xa9", ".mirrorfs", "n".repeat(255)]));
  readonly #inode = (): Inode => this.#pick(this.#inodes);
  readonly #directory = (): Inode =>
    this.#pick(this.#inodes.filter((inode) => this.world.tree.attributes(inode)?.kind === "directory"));
  readonly #place = () => ({ parent: this.#below(8) === 0 ? this.#inode() : this.#directory(), name: this.#name() });

  #keys(prefix: string): ByteString[] {
    return [...this.world.view.pairs.keys()].filter((key) => key[0] === prefix);
  }

  /** Mostly an entry that exists. */
  #entry(fits: (inode: Inode) => boolean = () => true) {
    const entries = this.#keys(KEY_PREFIX.entry)
      .map((key) => ({ parent: keyId(key) as Inode, name: keyName(key) }))
      .filter(({ parent, name }) => fits(this.world.tree.entry(parent, name)!.inode));
    return this.#below(4) === 0 || entries.length === 0 ? this.#place() : this.#pick(entries);
  }

  #isEmpty(directory: Inode): boolean {
    const { kind, entries } = this.world.attributes(directory);
    return kind === "directory" && entries === 0;
  }

  readonly #actions: readonly (() => void)[] = [
    () => this.#make(),
    () => this.#make(),
    () => this.#make(),
    () => this.#run({ kind: "link", inode: this.#inode(), ...this.#place() }),
    () => this.#run({ kind: "unlink", ...this.#entry() }),
    () => this.#run({ kind: "rmdir", ...this.#entry((inode) => this.#isEmpty(inode)) }),
    () => {
      const to = this.#place();
      const mode = this.#pick(["replace", "replace", "noreplace", "exchange"] as const);
      this.#run({ kind: "rename", ...this.#entry(), newParent: to.parent, newName: to.name, mode });
    },
    () => this.#setattr(),
    () => this.#write(),
    () => this.#write(),
    () => this.#writeSlice(),
    () => this.#writeSlice(),
    () => {
      const mode = this.#pick(["allocate", "keepSize", "punch", "zero"] as const);
      const length = this.#below(3 * CHUNK_BYTES);
      this.#run({ kind: "fallocate", inode: this.#inode(), mode, offset: this.#below(CHUNK_BYTES), length });
    },
    () => {
      const mode = this.#pick(["either", "create", "replace"] as const);
      const name = bytes(`user.${this.#below(3)}`);
      this.#run({ kind: "setxattr", inode: this.#inode(), name, value: this.#data(this.#below(20)), mode });
    },
    () => this.#run({ kind: "removexattr", inode: this.#inode(), name: bytes(`user.${this.#below(3)}`) }),
    () => this.#lock(),
    () => this.#reap(),
    () => {
      const version = this.world.tree.version;
      this.#run({ kind: "regionProgress", region: this.#below(3) as RegionIndex, version }, NO_SESSION_ID);
    },
  ];

  #data(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#below(256));
  }

  #make(): void {
    const { parent, name } = this.#place();
    const kind = this.#pick(KINDS);
    const mode = this.#below(0o10000);
    this.#run(
      makeCommand(parent, name, kind, { mode, uid: this.#below(3), gid: this.#below(3), device: this.#below(9) }),
    );
  }

  #setattr(): void {
    const time = () =>
      this.#pick([undefined, "now" as const, { seconds: this.#below(2 ** 33) - 2 ** 32, nanoseconds: 7 }]);
    const fields = {
      mode: this.#pick([undefined, this.#below(0o10000)]),
      uid: this.#pick([undefined, this.#below(3)]),
      size: this.#pick([undefined, undefined, this.#below(3 * CHUNK_BYTES)]),
      atime: time(),
      mtime: time(),
      killPrivileges: this.#pick([undefined, true]),
    };
    const present = Object.entries(fields).filter(([, value]) => value !== undefined);
    this.#run({ kind: "setattr", inode: this.#inode(), ...Object.fromEntries(present) });
  }

  #write(): void {
    const data = this.#data(1 + this.#below(60));
    const extents = [{ kind: "inline" as const, offset: this.#below(2 * CHUNK_BYTES), data }];
    this.#run({
      kind: "write",
      inode: this.#inode(),
      extents,
      ...(this.#below(2) === 0 ? { killPrivileges: true } : {}),
    });
  }

  #writeSlice(): void {
    this.#run({ kind: "grantSlices", count: 1 + this.#below(5) });
    const granted = this.world.tree.session(this.#session)?.granted.at(-1);
    if (granted === undefined) return;
    const slice = {
      ...sliceOf(granted.first as never, 1 + this.#below(9_000_000)),
      home: this.#below(2) as RegionIndex,
    };
    const extents = [{ kind: "slice" as const, offset: CHUNK_BYTES * this.#below(3) + this.#below(9_000_000), slice }];
    this.#run({ kind: "write", inode: this.#inode(), extents, mtime: { seconds: 5, nanoseconds: this.#below(1e9) } });
  }

  #lock(): void {
    const start = this.#below(20);
    const [table, mode] = [this.#pick(["posix", "flock"] as const), this.#pick(["read", "write", "unlock"] as const)];
    const owner = this.#pick(["x", "y"]);
    this.#run({ kind: "lock", inode: this.#inode(), table, owner, mode, start, end: start + this.#below(9), pid: 1 });
  }

  #reap(): void {
    const orphans = this.#keys(KEY_PREFIX.orphan).map((key) => keyId(key) as Inode);
    const inode = orphans.length > 0 ? this.#pick(orphans) : this.#inode();
    const keys = [...this.world.view.pairs.keys()].filter((key) => keyId(key) === inode);
    const chunks = keys.filter((key) => key[0] === KEY_PREFIX.chunk).map(keyChunk);
    const xattrs = keys.filter((key) => key[0] === KEY_PREFIX.xattr).map(keyName);
    this.#run({ kind: "reap", inode, chunks: chunks.slice(this.#below(2)), xattrs }, NO_SESSION_ID);
  }

  #reopen(): void {
    this.#run({ kind: "closeSession", session: OTHER_SESSION }, NO_SESSION_ID);
    this.#run(
      { kind: "openSession", session: OTHER_SESSION, client: "again", region: 1 as RegionIndex },
      NO_SESSION_ID,
    );
  }

  /** For each of the reasons in turn. */
  #beginEpoch(turn: number): void {
    const { tree } = this.world;
    const number = epochNumber(tree.version.epoch);
    const own = epochRegion(tree.version.epoch);
    const other = (1 - own) as RegionIndex;
    const begin = (at: number, region: RegionIndex, why: Beginning) =>
      this.#run({ kind: "beginEpoch", epoch: epochCode(at, region), ...why }, NO_SESSION_ID);
    const how = (["counters", "sealed", "resumed", "forced"] as const)[turn % 4]!;
    if (how === "sealed" || how === "resumed") this.#run({ kind: "seal", to: other }, NO_SESSION_ID);
    if (how === "counters") begin(number + 1, own, { how });
    else if (how === "sealed") begin(number + 1, other, { how });
    else if (how === "resumed") begin(number + 1, own, { how, declined: tree.version });
    else begin(forcedNumberAbove(number), other, { how });
  }
}

const recorder = new Recorder();
for (let at = 0; at < STEPS; at++) recorder.step(at);
const { log, tree } = recorder.world;
const lines = [
  `${tree.version.sequence} ${tree.stateHash}`,
  ...log.map((entry) => Buffer.from(entry).toString("base64")),
];
writeFileSync(join(import.meta.dirname, `level-${FEATURE_LEVEL}.txt`), `${lines.join("\n")}\n`);
