import type { ByteString, Inode } from "../../../core/ids.ts";
import type { DirectoryEntryReply, EntryReply, Handlers } from "../handlers.ts";
import type { ListedEntry } from "../metadata/metadata-reads.ts";
import { DirectoryListing, type Placed } from "./directory-listing.ts";
import type { MountState } from "./mount-state.ts";
import { closeNode, openChecked } from "./opening.ts";

type DirectoryHandlers = Pick<Handlers, "opendir" | "readdir" | "releasedir" | "fsyncdir">;
type Listed = DirectoryEntryReply & { readonly nextOffset: number };

/** At least as many as fit in one reply to the kernel. */
const ANSWER_ENTRIES = 512;
/** "." and ".." come first. */
const DOTS = 2;

/**
 * Directories. A descriptor reads the first page when it is opened or rewound, and later pages no older than that one.
 * The offset of an entry is its place in the listing.
 */
export function directoryHandlers(state: MountState): DirectoryHandlers {
  const { handles } = state;
  return {
    async opendir(caller, inode) {
      const opened = await openChecked(state, caller, inode, 0);
      if (typeof opened === "string") return opened;
      const { node } = opened;
      return {
        handle: handles.add({ kind: "directory", node, listing: new DirectoryListing() }),
        keepCache: false,
      };
    },

    async readdir(caller, inode, number, offset, plus) {
      const handle = handles.directory(number);
      if (handle === undefined) return "EBADF";
      if (offset === 0) handle.listing.rewind();
      const entries = await handle.listing.from(Math.max(0, offset - DOTS), ANSWER_ENTRIES, (after, limit, at) =>
        state.reads.directory(
          handle.node.inode,
          { after, limit, attributes: true },
          at === undefined
            ? { freshness: "committed", interrupt: caller }
            : { freshness: "token", atLeast: at, interrupt: caller },
        ),
      );
      if (typeof entries === "string") return entries;
      return listed(state, inode, offset, entries, plus);
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

function listed(
  state: MountState,
  inode: Inode,
  offset: number,
  entries: readonly Placed[],
  plus: boolean,
): readonly Listed[] {
  const result: Listed[] = [];
  if (offset < 1) result.push({ name: "." as ByteString, inode, kind: "directory", nextOffset: 1 });
  if (offset < DOTS) {
    const parent = state.nodes.parentOf(inode);
    result.push({ name: ".." as ByteString, inode: parent, kind: "directory", nextOffset: DOTS });
  }
  for (const { next, ...entry } of entries) {
    const nextOffset = next + DOTS;
    result.push(plus ? new PlusEntry(state, inode, entry, nextOffset) : { ...entry, nextOffset });
  }
  return result;
}

/**
 * An entry of a READDIRPLUS. `entry` counts a lookup, so it must be read only for an entry that goes into the reply.
 */
class PlusEntry implements DirectoryEntryReply {
  readonly name: ByteString;
  readonly inode: Inode;
  readonly kind: ListedEntry["kind"];
  readonly nextOffset: number;
  readonly #state: MountState;
  readonly #parent: Inode;
  readonly #listed: Omit<Placed, "next">;
  #entry: EntryReply | undefined;

  constructor(state: MountState, parent: Inode, listed: Omit<Placed, "next">, nextOffset: number) {
    this.name = listed.name;
    this.inode = listed.inode;
    this.kind = listed.kind;
    this.nextOffset = nextOffset;
    this.#state = state;
    this.#parent = parent;
    this.#listed = listed;
  }

  get entry(): EntryReply | undefined {
    const { attributes, name, at } = this.#listed;
    if (attributes !== undefined) this.#entry ??= this.#state.kernel.entryReply(this.#parent, name, attributes, at);
    return this.#entry;
  }
}
