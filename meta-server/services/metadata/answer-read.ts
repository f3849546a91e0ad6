/** Reads: one answer for each kind, from the state as it is now. */
import { RECORDS } from "../../../core/codec/records.ts";
import { decodeChunk, INODE_KINDS } from "../../../core/codec.ts";
import { type ByteString, type Inode, ROOT_INODE, type SliceId } from "../../../core/ids.ts";
import { attributesKey, entryKey, keyName, xattrKey } from "../../../core/keys.ts";
import { isHidden } from "../../../core/reserved.ts";
import type {
  Belief,
  Chunk,
  DirectoryEntry,
  GetLock,
  Open,
  ReadChunks,
  ReadDirectory,
  Request,
  Response,
  SliceRecord,
} from "../../../proto/generated/metadata.ts";
import { Status } from "../../../proto/generated/metadata.ts";
import type { Machine } from "../../machine/machine.ts";
import { pathOf, resolvePath } from "../../region/paths.ts";
import { conflicts } from "./lock-queues.ts";
import { asBuffer, failed, response } from "./responses.ts";

type Body = NonNullable<Request["body"]>;
export type ReadKind = Exclude<Body["$case"], "mutate" | "keepAlive" | "release" | "wantBlocks">;
export type ReadBody = Extract<Body, { $case: ReadKind }>;
type BodyOf<K extends ReadKind> = Extract<Body, { $case: K }>["value"];

const PAGE_ENTRIES_MAX = 4096;
const PAGE_ENTRIES = 1024;
const CHUNKS_MAX = 64;
const STABLE_ATTEMPTS = 4;

type Reader<K extends ReadKind> = (
  machine: Machine,
  id: number,
  body: BodyOf<K>,
  session: number,
) => Response | Promise<Response>;

/** Answers one read from the state as it is now. Records are sent in the encoding in which they are stored. */
export function answerRead(
  machine: Machine,
  id: number,
  body: ReadBody,
  session: number,
): Response | Promise<Response> {
  return (readers[body.$case] as Reader<ReadKind>)(machine, id, body.value as never, session);
}

const readers: { [K in ReadKind]: Reader<K> } = {
  lookup: (machine, id, { parent, name }) => {
    const entry = machine.tree.entry(parent as Inode, latin1(name));
    if (entry === undefined) return failed(id, absenceIn(machine, parent as Inode), machine.version);
    return withAttributes(machine, id, entry.inode);
  },
  getAttributes: (machine, id, { inode }) => withAttributes(machine, id, inode as Inode),
  readDirectory,
  readLink: (machine, id, { inode }) => {
    const target = machine.tree.symlink(inode as Inode);
    if (target === undefined) return failed(id, exists(machine, inode) ? "EINVAL" : "ENOENT", machine.version);
    return withValue(machine, id, Buffer.from(target, "latin1"));
  },
  getXattr: (machine, id, { inode, name }) => {
    const value = machine.tree.xattr(inode as Inode, latin1(name));
    if (value === undefined) return failed(id, exists(machine, inode) ? "ENODATA" : "ENOENT", machine.version);
    return withValue(machine, id, value);
  },
  listXattrs: async (machine, id, { inode }) => {
    if (!exists(machine, inode)) return failed(id, "ENOENT", machine.version);
    const answer = response(id, Status.OK, machine.version);
    const names: Buffer[] = [];
    for await (const page of machine.view.pages(xattrKey(inode as Inode, "" as ByteString))) {
      for (const [key] of page) names.push(Buffer.from(keyName(key), "latin1"));
    }
    answer.names = names;
    return answer;
  },
  readChunks: (machine, id, request) => {
    if (!exists(machine, request.inode)) return failed(id, "ENOENT", machine.version);
    return withChunks(machine, response(id, Status.OK, machine.version), request);
  },
  open,
  statFs: (machine, id) => {
    const answer = response(id, Status.OK, machine.version);
    const { usedBytes, inodes } = machine.tree.volume ?? { usedBytes: 0, inodes: 0 };
    answer.usage = { bytes: usedBytes, inodes };
    return answer;
  },
  getLock,
  resolvePath: (machine, id, { path }) => {
    const inode = resolvePath(machine, path);
    return typeof inode === "string" ? failed(id, inode, machine.version) : withAttributes(machine, id, inode);
  },
  pathOf: async (machine, id, { inode }) => {
    const path = await pathOf(machine, inode as Inode);
    if (path === undefined) return failed(id, "ENOENT", machine.version);
    const answer = response(id, Status.OK, machine.version);
    answer.path = path;
    return answer;
  },
};

function latin1(name: Buffer): ByteString {
  return name.toString("latin1") as ByteString;
}

function exists(machine: Machine, inode: number): boolean {
  return machine.tree.attributesBytes(inode as Inode) !== undefined;
}

function absenceIn(machine: Machine, parent: Inode): "ENOENT" | "ENOTDIR" {
  const attributes = machine.tree.attributes(parent);
  return attributes !== undefined && attributes.kind !== "directory" ? "ENOTDIR" : "ENOENT";
}

function withAttributes(machine: Machine, id: number, inode: Inode): Response {
  const attributes = machine.tree.attributesBytes(inode);
  if (attributes === undefined) return failed(id, "ENOENT", machine.version);
  const answer = response(id, Status.OK, machine.version);
  answer.attributes = asBuffer(attributes);
  return answer;
}

function withValue(machine: Machine, id: number, value: Uint8Array): Response {
  const answer = response(id, Status.OK, machine.version);
  answer.value = asBuffer(value);
  return answer;
}

function withChunks(machine: Machine, answer: Response, { inode, first, count }: ReadChunks): Response {
  const chunks: Chunk[] = [];
  const slices = new Map<SliceId, SliceRecord>();
  for (let index = first; index < first + Math.min(count, CHUNKS_MAX); index += 1) {
    const chunk = machine.tree.chunkBytes(inode as Inode, index);
    if (chunk === undefined) continue;
    chunks.push({ index, chunk: asBuffer(chunk) });
    for (const segment of decodeChunk(chunk).segments) {
      if (segment.kind !== "slice" || slices.has(segment.slice)) continue;
      const record = machine.tree.sliceBytes(segment.slice);
      if (record !== undefined) slices.set(segment.slice, { id: segment.slice, slice: asBuffer(record) });
    }
  }
  answer.chunks = chunks;
  answer.slices = [...slices.values()];
  return answer;
}

function open(machine: Machine, id: number, { inode, beliefs, chunks }: Open): Response {
  const stale = beliefs.findIndex((belief) => !holds(machine, belief));
  if (stale !== -1) {
    const answer = failed(id, "ESTALE", machine.version);
    answer.staleBelief = stale;
    return answer;
  }
  const answer = withAttributes(machine, id, inode as Inode);
  if (answer.status !== Status.OK || chunks === 0) return answer;
  return withChunks(machine, answer, { inode, first: 0, count: chunks });
}

function holds(machine: Machine, { parent, name, inode }: Belief): boolean {
  return machine.tree.entry(parent as Inode, latin1(name))?.inode === inode;
}

async function readDirectory(machine: Machine, id: number, request: ReadDirectory): Promise<Response> {
  const inode = request.inode as Inode;
  const limit = Math.min(request.limit || PAGE_ENTRIES, PAGE_ENTRIES_MAX);
  const wanted = inode === ROOT_INODE ? limit + 1 : limit; // one entry of the root is hidden
  const prefix = entryKey(inode, "" as ByteString);
  const after = request.after.length === 0 ? undefined : prefix + latin1(request.after);
  for (let attempt = 1; ; attempt += 1) {
    const before = machine.tree.attributes(inode);
    if (before === undefined) return failed(id, "ENOENT", machine.version);
    if (before.kind !== "directory") return failed(id, "ENOTDIR", machine.version);
    const found = await machine.view.range(prefix, after, wanted);
    const page = found
      .filter(([key]) => !isHidden(inode, keyName(key)))
      .slice(0, limit)
      .map(([key, value]) => ({ key, ...RECORDS.entry.decode(value) }));
    const cold = request.attributes ? await readCold(machine, page) : undefined;
    // A client would cache a page that is older than an invalidation it has received: read again if the directory has changed.
    if (machine.tree.attributes(inode)?.changed !== before.changed && attempt < STABLE_ATTEMPTS) continue;
    const answer = response(id, Status.OK, machine.version);
    answer.entries = page.map((entry) => directoryEntry(machine, entry, cold));
    answer.end = found.length < wanted;
    return answer;
  }
}

type Entry = { readonly key: ByteString } & ReturnType<typeof RECORDS.entry.decode>;

/**
 * The attributes that are not in memory: read at once, off the main thread, and not cached, since a listing would evict
 * everything else.
 */
async function readCold(machine: Machine, page: readonly Entry[]): Promise<Map<Inode, Uint8Array | undefined>> {
  const inodes = page.map(({ inode }) => inode).filter((inode) => !machine.tree.holdsAttributes(inode));
  if (inodes.length === 0) return new Map();
  const values = await machine.view.readMany(inodes.map(attributesKey));
  return new Map(inodes.map((inode, i) => [inode, values[i]]));
}

/** `cold` is undefined if the client asked for no attributes. */
function directoryEntry(
  machine: Machine,
  { key, inode, kind }: Entry,
  cold: ReadonlyMap<Inode, Uint8Array | undefined> | undefined,
): DirectoryEntry {
  // Attributes that were loaded into memory meanwhile are at least as new.
  const isCold = cold?.has(inode) === true && !machine.tree.holdsAttributes(inode);
  const found = isCold ? cold.get(inode) : cold && machine.tree.attributesBytes(inode);
  return {
    name: Buffer.from(keyName(key), "latin1"),
    inode,
    kind: INODE_KINDS.code(kind),
    attributes: found === undefined ? NO_BYTES : asBuffer(found),
  };
}

const NO_BYTES = Buffer.alloc(0);

function getLock(machine: Machine, id: number, request: GetLock, session: number): Response {
  const answer = response(id, Status.OK, machine.version);
  const held = machine.tree.locks(request.inode as Inode).find((lock) => conflicts(lock, request, session));
  if (held !== undefined) answer.lock = { mode: held.mode, start: held.start, end: held.end, pid: held.pid };
  return answer;
}
