import { decodeEntry, encodeFollowed } from "../../../core/codec.ts";
import type { Command, Outcome } from "../../../core/commands.ts";
import { applyEntry } from "../../../core/entries.ts";
import {
  type ByteString,
  type EpochCode,
  epochNumber,
  epochRegion,
  type Inode,
  type SessionId,
  type SliceId,
  type Version,
} from "../../../core/ids.ts";
import { checkInvariants } from "../../../core/invariants.ts";
import { Tree } from "../../../core/tree.ts";
import type { TakenEntry } from "../../../meta-server/machine/machine.ts";
import { invariant } from "../environment/world.ts";
import { type Content, contentOf } from "./content.ts";
import { Versions } from "./versions.ts";

/** A command of the changelog, as the first server applied it. */
export interface KnownEntry {
  readonly previous: Version;
  readonly version: Version;
  readonly body: Uint8Array;
  readonly stateHash: string;
  readonly session: number;
  readonly request: number;
  readonly outcome: Outcome;
  /** When it was first applied, in the logical time of the clients' history. */
  readonly appliedAt: number;
}

/** What a read may return of an inode. */
export interface SeenInode {
  readonly links: number;
  readonly owner: number;
  readonly size: number;
  readonly content: Content | undefined;
}

/** A reference replica in memory: what applying the changelog must result in. */
class Reference {
  readonly pairs = new Map<ByteString, Uint8Array>();
  readonly tree = new Tree({ get: (key) => this.pairs.get(key) });

  apply(entry: TakenEntry): ReturnType<typeof applyEntry> & { taken: true } {
    const applied = applyEntry(this.tree, decodeEntry(encodeFollowed(entry.previous, entry.body)));
    invariant("one changelog", applied.taken, () => `${show(entry.version)} is on the changelog but core refuses it`);
    const { puts } = this.tree.takeTurn();
    for (const [key, value] of puts) {
      if (value === undefined) this.pairs.delete(key as ByteString);
      else this.pairs.set(key as ByteString, value);
    }
    return applied as ReturnType<typeof applyEntry> & { taken: true };
  }
}

/** How often the invariants across all records are checked, in commands. */
const INVARIANTS_EVERY = 64;

/**
 * Checks that all servers of all regions apply one changelog and have one state hash at each version, and keeps what each
 * version's state was, for checking the clients' reads. The history may fork only where an epoch was begun by force.
 */
export class VolumeChecker {
  readonly entries = new Map<string, KnownEntry>();
  readonly names = new Versions<Inode | undefined>((version) => this.#epochStart(version));
  readonly inodes = new Versions<SeenInode | undefined>((version) => this.#epochStart(version));
  /** The epochs begun by force, each with the last version that it shares with the epoch before. */
  readonly forks: { readonly epoch: EpochCode; readonly fork: Version; readonly atMs: number }[] = [];
  readonly sessions = new Set<SessionId>();
  readonly #openSessions = new Versions<boolean>((version) => this.#epochStart(version));
  readonly #clock: { readonly nowMs: () => number; readonly tick: () => number };
  readonly #tips = new Map<string, Reference>();
  readonly #epochs = new Map<number, Version>();
  /** By version, the command that follows it; of several, one that began no epoch by force. */
  readonly #successors = new Map<string, { readonly version: Version; readonly isForced: boolean }>();
  readonly #grants: { session: SessionId; version: Version; first: SliceId; count: number }[] = [];
  readonly #usedSlices = new Map<SliceId, Version>();
  #tip: Version | undefined;

  constructor(clock: { readonly nowMs: () => number; readonly tick: () => number }) {
    this.#clock = clock;
  }

  /** The last version of the latest epoch. */
  get tip(): Version | undefined {
    return this.#tip;
  }

  get tree(): Tree | undefined {
    return this.#tip === undefined ? undefined : this.#tips.get(show(this.#tip))?.tree;
  }

  observeEntry(by: string, entry: TakenEntry): void {
    const name = show(entry.version);
    const known = this.entries.get(name);
    if (known !== undefined) {
      invariant(
        "one changelog",
        show(known.previous) === show(entry.previous) && Buffer.compare(known.body, entry.body) === 0,
        () => `${by} has applied a different command as ${name}`,
      );
      return;
    }
    this.#applyFirst(by, entry);
  }

  /** The same version has the same hash on every member of every region. */
  observeHash(by: string, version: Version, stateHash: string): void {
    if (version.sequence === 0) return;
    const known = this.entries.get(show(version));
    invariant("one changelog", known !== undefined, () => `${by} is at ${show(version)}, which no server has applied`);
    invariant(
      "one state",
      known!.stateHash === stateHash,
      () => `${by} has ${stateHash} at ${show(version)}, not ${known!.stateHash}`,
    );
  }

  #applyFirst(by: string, entry: TakenEntry): void {
    const { previous, version } = entry;
    const before = show(previous);
    let reference = this.#tips.get(before);
    if (reference === undefined) {
      invariant(
        "one changelog",
        previous.sequence === 0 ? this.entries.size === 0 : this.entries.has(before),
        () => `a gap in the changelog: ${by} applies ${show(version)} after ${before}, which no server has applied`,
      );
      reference = this.#replay(previous);
    }
    const applied = reference.apply(entry);
    invariant(
      "one changelog",
      show(applied.version) === show(version),
      () => `${by} numbers ${show(applied.version)} as ${show(version)}`,
    );
    this.#tips.delete(before);
    this.#tips.set(show(version), reference);
    this.#recordEntry(by, entry, applied, reference);
  }

  #recordEntry(by: string, entry: TakenEntry, applied: ReturnType<Reference["apply"]>, reference: Reference): void {
    const { previous, version, body } = entry;
    const { stamp, command } = decodeEntry(encodeFollowed(previous, body));
    const { tree } = reference;
    invariant(
      "one changelog",
      stamp.epoch === previous.epoch,
      () => `${show(version)} was proposed in epoch ${showEpoch(stamp.epoch)}, not in that of its predecessor`,
    );
    const isForced = command.kind === "beginEpoch" && command.how === "forced";
    this.#checkFork(by, entry, isForced);
    if (version.epoch !== previous.epoch) this.#recordEpoch(entry, isForced);
    if (this.#tip === undefined || version.epoch >= this.#tip.epoch) this.#tip = version;
    this.entries.set(show(version), {
      previous,
      version,
      body,
      stateHash: tree.stateHash,
      session: stamp.session,
      request: stamp.request,
      outcome: applied.outcome,
      appliedAt: this.#clock.tick(),
    });
    for (const touched of applied.effects.touched) {
      if ("parent" in touched) {
        const { parent, name } = touched;
        this.names.put(`${parent}/${name}`, version, tree.entry(parent, name)?.inode);
      }
    }
    this.#recordInodes(applied, command, version, tree);
    this.#recordSession(command, version);
    if (command.kind === "grantSlices" && applied.outcome.ok) {
      this.#grants.push({ session: stamp.session, version, ...applied.outcome.grant! });
    }
    for (const slice of applied.effects.slicesAdded) this.#recordSlice(slice.id, stamp.session, version);
    if (version.sequence % INVARIANTS_EVERY === 0) checkTree(reference.pairs, version);
  }

  /** Records every inode that a command may have changed: those it names, and those its names refer or referred to. */
  #recordInodes(
    { outcome, effects }: ReturnType<Reference["apply"]>,
    command: Command,
    version: Version,
    tree: Tree,
  ): void {
    const inodes = new Set<Inode>();
    if (outcome.ok && outcome.attributes !== undefined) inodes.add(outcome.attributes.inode);
    if (outcome.ok && outcome.removed !== undefined) inodes.add(outcome.removed);
    if ("inode" in command) inodes.add(command.inode);
    for (const touched of effects.touched) {
      if ("inode" in touched) inodes.add(touched.inode);
      else {
        const inode = tree.entry(touched.parent, touched.name)?.inode;
        if (inode !== undefined) inodes.add(inode);
      }
    }
    for (const inode of inodes) {
      const now = tree.attributes(inode);
      const content = now?.kind === "file" ? contentOf(tree.chunk(inode, 0)) : undefined;
      const seen = now && { links: now.links, owner: now.uid, size: now.size, content };
      this.inodes.put(String(inode), version, seen);
    }
  }

  /** Two commands follow one version only where one of them began an epoch by force. */
  #checkFork(by: string, { previous, version }: TakenEntry, isForced: boolean): void {
    const next = this.#successors.get(show(previous));
    if (next === undefined || next.isForced) this.#successors.set(show(previous), { version, isForced });
    invariant(
      "one changelog",
      next === undefined || next.isForced || isForced,
      () =>
        `the history forks without force: ${by} has ${show(version)} after ${show(previous)}, not ${show(next!.version)}`,
    );
  }

  #recordSession(command: Command, version: Version): void {
    if (command.kind !== "openSession" && command.kind !== "closeSession") return;
    if (command.kind === "openSession") this.sessions.add(command.session);
    this.#openSessions.put(String(command.session), version, command.kind === "openSession");
  }

  /** Whether a session is open in the state of this version. */
  isSessionOpenAt(session: SessionId, version: Version): boolean {
    return this.#openSessions.at(String(session), version) === true;
  }

  #recordEpoch({ previous, version }: TakenEntry, forced: boolean): void {
    const known = this.#epochs.get(version.epoch);
    invariant("one changelog", known === undefined, () => `epoch ${showEpoch(version.epoch)} begins twice`);
    this.#epochs.set(version.epoch, previous);
    if (forced) this.forks.push({ epoch: version.epoch, fork: previous, atMs: this.#clock.nowMs() });
  }

  /** A slice id is used once, and only within a range granted to its session before. */
  #recordSlice(id: SliceId, session: SessionId, version: Version): void {
    const isGranted = this.#grants.some(
      (grant) =>
        grant.session === session &&
        id >= grant.first &&
        id < grant.first + grant.count &&
        this.isBefore(grant.version, version),
    );
    invariant(
      "slice ids",
      isGranted,
      () => `slice ${id} is named at ${show(version)} by session ${session}, to which it was not granted`,
    );
    const before = this.#usedSlices.get(id);
    invariant(
      "slice ids",
      before === undefined || !this.isBefore(before, version),
      () => `slice ${id} is reused at ${show(version)}`,
    );
    this.#usedSlices.set(id, version);
  }

  #epochStart(version: Version): Version | undefined {
    return this.#epochs.get(version.epoch);
  }

  /** Whether `version` is an ancestor of `of`, or equal to it. */
  isBefore(version: Version, of: Version): boolean {
    return this.names.isBefore(version, of);
  }

  /** Whether a version is on the surviving branch: not discarded by a forced promotion. */
  isSurviving(version: Version): boolean {
    return this.#tip !== undefined && this.isBefore(version, this.#tip);
  }

  /** Replays the changelog up to `to`, for a branch that forks from the middle of another. */
  #replay(to: Version): Reference {
    const chain: KnownEntry[] = [];
    for (let at = this.entries.get(show(to)); at !== undefined; at = this.entries.get(show(at.previous)))
      chain.push(at);
    const reference = new Reference();
    for (const entry of chain.reverse()) reference.apply(entry);
    return reference;
  }

  /** Checks the invariants of every branch's last state, at the end of a run. */
  checkTips(): void {
    for (const [name, { pairs }] of this.#tips) {
      const errors = checkInvariants(pairs);
      invariant("sound tree", errors.length === 0, () => `the tree at ${name}: ${errors.join("; ")}`);
    }
  }
}

function checkTree(pairs: Map<ByteString, Uint8Array>, version: Version): void {
  const errors = checkInvariants(pairs);
  invariant("sound tree", errors.length === 0, () => `the tree at ${show(version)}: ${errors.join("; ")}`);
}

export function show({ epoch, sequence }: Version): string {
  return `${showEpoch(epoch)}:${sequence}`;
}

export function showEpoch(epoch: EpochCode): string {
  return `${epochNumber(epoch)}.${epochRegion(epoch)}`;
}
