import { RECORDS } from "./codec/records.ts";
import type { ByteString, Inode, SessionId, SliceId } from "./ids.ts";
import { checkChunks } from "./invariants/chunks.ts";
import { checkNames } from "./invariants/names.ts";
import { checkSessions } from "./invariants/sessions.ts";
import type { Snapshot } from "./invariants/snapshot.ts";
import { checkVolume } from "./invariants/volume.ts";
import { KEY_PREFIX, keyChunk, keyId, keyLink, keyName, keyPage, VOLUME_KEY } from "./keys.ts";
import { hashPair, StateHash } from "./state-hash.ts";

/**
 * Checks what must hold between the records of a state: link and entry counts, parents, reachability, segments and
 * references, sums, sessions, locks and the state hash. Reads the whole state, so it is for tests, simulations and fsck.
 * @returns one sentence for each violation.
 * @throws RangeError for keys that cannot be part of a state, CodecError for values that cannot be decoded.
 */
export function checkInvariants(pairs: Iterable<readonly [ByteString, Uint8Array]>): string[] {
  const violations: string[] = [];
  const snapshot = collect(pairs);
  if (snapshot === undefined) return violations;
  const report = (violation: string) => violations.push(violation);
  checkVolume(snapshot, report);
  checkNames(snapshot, report);
  checkChunks(snapshot, report);
  checkSessions(snapshot, report);
  return violations;
}

function collect(pairs: Iterable<readonly [ByteString, Uint8Array]>): Snapshot | undefined {
  const all = new Map(pairs);
  const volume = all.get(VOLUME_KEY);
  if (volume === undefined) {
    if (all.size > 0) throw new RangeError("keys without a volume record");
    return undefined;
  }
  const computed = new StateHash(undefined);
  const pair = { high: 0, low: 0 };
  let stored: string | undefined;
  const snapshot: Omit<Snapshot, "hash"> = {
    volume: RECORDS.volume.decode(volume),
    attributes: new Map(),
    entries: [],
    extraLinks: new Map(),
    chunks: [],
    slices: new Map(),
    xattrs: new Map(),
    symlinks: new Map(),
    sessions: new Map(),
    outcomePages: [],
    lockedInodes: new Map(),
    locks: new Map(),
    orphans: new Map(),
    epochs: new Set(),
    regions: new Set(),
  };
  for (const [key, value] of all) {
    if (key[0] === KEY_PREFIX.hash) stored = new StateHash(RECORDS.hash.decode(value)).toString();
    else {
      hashPair(key, value, pair);
      computed.add(pair);
    }
    collectPair(snapshot, key, value);
  }
  return { ...snapshot, hash: { stored, computed: computed.toString() } };
}

type Collector = (to: Omit<Snapshot, "hash">, key: ByteString, value: Uint8Array) => void;

const collectors: { readonly [Prefix in (typeof KEY_PREFIX)[keyof typeof KEY_PREFIX]]: Collector } = {
  V: () => {},
  H: () => {},
  A: (to, key, value) => to.attributes.set(keyId(key) as Inode, RECORDS.attributes.decode(value)),
  D: (to, key, value) =>
    to.entries.push({ parent: keyId(key) as Inode, name: keyName(key), ...RECORDS.entry.decode(value) }),
  P(to, key, value) {
    RECORDS.extraLink.decode(value);
    const inode = keyId(key) as Inode;
    to.extraLinks.set(inode, [...(to.extraLinks.get(inode) ?? []), keyLink(key)]);
  },
  C: (to, key, value) =>
    to.chunks.push({ inode: keyId(key) as Inode, index: keyChunk(key), ...RECORDS.chunk.decode(value) }),
  S: (to, key, value) => to.slices.set(keyId(key) as SliceId, RECORDS.slice.decode(value)),
  X(to, key, value) {
    RECORDS.xattr.decode(value);
    const inode = keyId(key) as Inode;
    to.xattrs.set(inode, (to.xattrs.get(inode) ?? 0) + 1);
  },
  L: (to, key, value) => to.symlinks.set(keyId(key) as Inode, RECORDS.symlink.decode(value)),
  N: (to, key, value) => to.sessions.set(keyId(key) as SessionId, RECORDS.session.decode(value)),
  Q(to, key, value) {
    RECORDS.outcomes.decode(value);
    to.outcomePages.push({ session: keyId(key) as SessionId, page: keyPage(key) });
  },
  M: (to, key, value) => to.lockedInodes.set(keyId(key) as SessionId, RECORDS.lockedInodes.decode(value)),
  K: (to, key, value) => to.locks.set(keyId(key) as Inode, RECORDS.locks.decode(value)),
  O: (to, key, value) => to.orphans.set(keyId(key) as Inode, RECORDS.orphan.decode(value)),
  E(to, key, value) {
    RECORDS.epoch.decode(value);
    to.epochs.add(keyId(key));
  },
  R(to, key, value) {
    RECORDS.region.decode(value);
    to.regions.add(keyId(key));
  },
};

function collectPair(snapshot: Omit<Snapshot, "hash">, key: ByteString, value: Uint8Array): void {
  const collector = collectors[key[0] as keyof typeof collectors];
  if (collector === undefined) throw new RangeError(`a key begins with the unknown prefix ${JSON.stringify(key[0])}`);
  collector(snapshot, key, value);
}
