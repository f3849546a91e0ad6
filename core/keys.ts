import type { ByteString, EpochCode, Inode, RegionIndex, SessionId, SliceId } from "./ids.ts";

/**
 * The keys of the replicated state: a letter, then ids as seven big-endian bytes (so that they sort), then a name.
 *
 * | key | of | value |
 * |---|---|---|
 * | V | the volume | uuid, features, regions, version, seal, counters, usage |
 * | H | the state hash | its two lanes; the only key that the hash does not cover |
 * | A inode | attributes | Attributes |
 * | D parent name | a directory entry | inode, kind |
 * | P inode parent name | a link other than the one in `Attributes.parent` | nothing |
 * | C inode index | a chunk | revision, segments |
 * | S slice | a slice | SliceRecord |
 * | X inode name | an xattr | its bytes |
 * | L inode | a symlink | its target |
 * | N session | a session | client, region, low water, granted slice ids not yet used |
 * | Q session page | outcomes of a run of requests | by request number |
 * | M session | the inodes it holds locks on | inodes |
 * | K inode | locks | holders, modes, ranges |
 * | O inode | an orphan (no links, not yet reaped) | the sequence that removed its last link |
 * | E epoch | an epoch | first sequence, previous version, how it began |
 * | R region | a region's progress | version |
 *
 * One link of a file is recorded by `Attributes.parent` alone; its name is found by searching that directory. Every other
 * link has a P key. If the link in `parent` is removed first, `parent` is 0 until the next link takes its place.
 */
export const KEY_PREFIX = {
  volume: "V",
  hash: "H",
  attributes: "A",
  entry: "D",
  extraLink: "P",
  chunk: "C",
  slice: "S",
  xattr: "X",
  symlink: "L",
  session: "N",
  outcomes: "Q",
  lockedInodes: "M",
  locks: "K",
  orphan: "O",
  epoch: "E",
  region: "R",
} as const;

const ID_BYTES = 7;
const INDEX_BYTES = 4;

/** Seven bytes, big-endian. */
function id(value: number): string {
  const high = Math.floor(value / 2 ** 32);
  const low = value >>> 0;
  return String.fromCharCode(
    (high >>> 16) & 255,
    (high >>> 8) & 255,
    high & 255,
    low >>> 24,
    (low >>> 16) & 255,
    (low >>> 8) & 255,
    low & 255,
  );
}

function index(value: number): string {
  return String.fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

function number(key: string, from: number, bytes: number): number {
  let value = 0;
  for (let at = from; at < from + bytes; at++) value = value * 256 + key.charCodeAt(at);
  return value;
}

/**
 * A command reads the same few keys again and again. Returning the very same string saves concatenating, flattening and
 * hashing it for each Map lookup.
 */
let lastEntry = { parent: 0, name: "" as ByteString, key: (KEY_PREFIX.entry + id(0)) as ByteString };
let lastSession = { session: 0, key: (KEY_PREFIX.session + id(0)) as ByteString };
let lastOutcomes = { session: 0, page: 0, key: (KEY_PREFIX.outcomes + id(0) + id(0)) as ByteString };

export const VOLUME_KEY = KEY_PREFIX.volume as ByteString;
export const HASH_KEY = KEY_PREFIX.hash as ByteString;

export function attributesKey(inode: number): ByteString {
  return (KEY_PREFIX.attributes + id(inode)) as ByteString;
}

/** With an empty name: the prefix of all entries of the directory. */
export function entryKey(parent: Inode, name: ByteString): ByteString {
  if (parent !== lastEntry.parent || name !== lastEntry.name) {
    lastEntry = { parent, name, key: (KEY_PREFIX.entry + id(parent) + name) as ByteString };
  }
  return lastEntry.key;
}

export function extraLinkKey(inode: Inode, parent: Inode, name: ByteString): ByteString {
  return (KEY_PREFIX.extraLink + id(inode) + id(parent) + name) as ByteString;
}

/** The prefix of all extra links of an inode. */
export function extraLinksPrefix(inode: Inode): ByteString {
  return (KEY_PREFIX.extraLink + id(inode)) as ByteString;
}

export function chunkKey(inode: Inode, chunk: number): ByteString {
  return (KEY_PREFIX.chunk + id(inode) + index(chunk)) as ByteString;
}

/** The prefix of all chunks of an inode. */
export function chunksPrefix(inode: Inode): ByteString {
  return (KEY_PREFIX.chunk + id(inode)) as ByteString;
}

export function sliceKey(slice: SliceId): ByteString {
  return (KEY_PREFIX.slice + id(slice)) as ByteString;
}

/** With an empty name: the prefix of all xattrs of the inode. */
export function xattrKey(inode: Inode, name: ByteString): ByteString {
  return (KEY_PREFIX.xattr + id(inode) + name) as ByteString;
}

export function symlinkKey(inode: Inode): ByteString {
  return (KEY_PREFIX.symlink + id(inode)) as ByteString;
}

export function sessionKey(session: SessionId): ByteString {
  if (session !== lastSession.session) {
    lastSession = { session, key: (KEY_PREFIX.session + id(session)) as ByteString };
  }
  return lastSession.key;
}

export function outcomesKey(session: SessionId, page: number): ByteString {
  if (session !== lastOutcomes.session || page !== lastOutcomes.page) {
    lastOutcomes = { session, page, key: (KEY_PREFIX.outcomes + id(session) + id(page)) as ByteString };
  }
  return lastOutcomes.key;
}

export function lockedInodesKey(session: SessionId): ByteString {
  return (KEY_PREFIX.lockedInodes + id(session)) as ByteString;
}

export function locksKey(inode: Inode): ByteString {
  return (KEY_PREFIX.locks + id(inode)) as ByteString;
}

export function orphanKey(inode: Inode): ByteString {
  return (KEY_PREFIX.orphan + id(inode)) as ByteString;
}

export function epochKey(epoch: EpochCode): ByteString {
  return (KEY_PREFIX.epoch + id(epoch)) as ByteString;
}

export function regionKey(region: RegionIndex): ByteString {
  return (KEY_PREFIX.region + id(region)) as ByteString;
}

/** The first id in a key: an inode in A D P C X L K O, a slice in S, a session in N Q M, … */
export function keyId(key: ByteString): number {
  return number(key, 1, ID_BYTES);
}

/** The name at the end of a D or an X key. */
export function keyName(key: ByteString): ByteString {
  return key.slice(1 + ID_BYTES) as ByteString;
}

/** The index at the end of a C key. */
export function keyChunk(key: ByteString): number {
  return number(key, 1 + ID_BYTES, INDEX_BYTES);
}

/** The directory and the name in a P key. */
export function keyLink(key: ByteString): { parent: Inode; name: ByteString } {
  return {
    parent: number(key, 1 + ID_BYTES, ID_BYTES) as Inode,
    name: key.slice(1 + 2 * ID_BYTES) as ByteString,
  };
}

/** The page at the end of a Q key. */
export function keyPage(key: ByteString): number {
  return number(key, 1 + ID_BYTES, ID_BYTES);
}
