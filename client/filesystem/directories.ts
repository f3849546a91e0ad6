import type { ByteString, Inode } from "../../core/ids.ts";
import type { Caller, DirectoryEntryReply, EntryReply, Handlers, Result } from "../handlers.ts";
import type { ListedEntry } from "../metadata/reads.ts";
import { closeNode, openChecked } from "./files.ts";
import type { DirectoryHandle } from "./handles.ts";
import type { MountState } from "./mount-state.ts";

type DirectoryHandlers = Pick<Handlers, "opendir" | "readdir" | "releasedir" | "fsyncdir">;
type Listed = DirectoryEntryReply & { readonly nextOffset: number };

const PAGE_ENTRIES = 1000;
/** As many as one answer to the kernel can hold. */
const ANSWER_ENTRIES = 512;
/** "." and ".." come first. */
const DOTS = 2;

/**
 * Directories. A descriptor lists the directory as it was when it was opened or rewound (its first page) and then page by
 * page; an entry's offset is its place in that list, so that it stays what it is while entries come and go.
 */
export function directoryHandlers(state: MountState): DirectoryHandlers {
  const { handles } = state;
  return {
    async opendir(caller, inode) {
      const opened = await openChecked(state, caller, inode, 0);
      if (typeof opened === "string") return opened;
      const { node } = opened;
      return {
        handle: handles.add({ kind: "directory", node, at: undefined, entries: [], end: false }),
        keepCache: false,
      };
    },

    async readdir(caller, inode, number, offset, plus) {
      const handle = handles.directory(number);
      if (handle === undefined) return "EBADF";
      if (offset === 0) {
        handle.at = undefined;
        handle.entries = [];
        handle.end = false;
      }
      while (!handle.end && handle.entries.length <= Math.max(0, offset - DOTS)) {
        const failed = await listOn(state, caller, handle);
        if (failed !== undefined) return failed;
      }
      return listed(state, handle, inode, offset, plus);
    },

    releasedir(_, __, number) {
      const handle = handles.directory(number);
      if (handle === undefined) return true;
      handles.remove(number);
      closeNode(state, handle.node);
      return true;
    },

    fsyncdir: () => true,
  };
}

async function listOn(state: MountState, caller: Caller, handle: DirectoryHandle) {
  const page = await state.reads.directory(
    handle.node.inode,
    { after: handle.entries.at(-1)?.name ?? ("" as ByteString), limit: PAGE_ENTRIES, attributes: true },
    handle.at === undefined
      ? { freshness: "committed", interrupt: caller }
      : { freshness: "token", atLeast: handle.at, interrupt: caller },
  );
  if (typeof page === "string") return page;
  handle.at ??= page.version;
  handle.entries.push(...page.entries);
  handle.end = page.end || page.entries.length === 0;
  return undefined;
}

function listed(
  state: MountState,
  handle: DirectoryHandle,
  inode: Inode,
  offset: number,
  plus: boolean,
): Result<readonly Listed[]> {
  const result: Listed[] = [];
  if (offset < 1) result.push({ name: "." as ByteString, inode, kind: "directory", nextOffset: 1 });
  if (offset < DOTS) {
    const parent = state.nodes.parentOf(inode);
    result.push({ name: ".." as ByteString, inode: parent, kind: "directory", nextOffset: DOTS });
  }
  const first = Math.max(0, offset - DOTS);
  const last = Math.min(handle.entries.length, first + ANSWER_ENTRIES);
  for (let index = first; index < last; index++) {
    const entry = handle.entries[index]!;
    const nextOffset = index + 1 + DOTS;
    result.push(plus ? new PlusEntry(state, inode, entry, nextOffset) : { ...entry, nextOffset });
  }
  return result;
}

/** An entry of a READDIRPLUS. The kernel holds a reference by each one that it is given: that is when `entry` is read. */
class PlusEntry implements DirectoryEntryReply {
  readonly name: ByteString;
  readonly inode: Inode;
  readonly kind: ListedEntry["kind"];
  readonly nextOffset: number;
  readonly #state: MountState;
  readonly #parent: Inode;
  readonly #listed: ListedEntry;
  #entry: EntryReply | undefined;

  constructor(state: MountState, parent: Inode, listed: ListedEntry, nextOffset: number) {
    this.name = listed.name;
    this.inode = listed.inode;
    this.kind = listed.kind;
    this.nextOffset = nextOffset;
    this.#state = state;
    this.#parent = parent;
    this.#listed = listed;
  }

  get entry(): EntryReply | undefined {
    const { attributes, name } = this.#listed;
    if (attributes !== undefined) this.#entry ??= this.#state.tellEntry(this.#parent, name, attributes);
    return this.#entry;
  }
}
