import type { IdRange } from "./codec/records.ts";
import type { SliceRecord } from "./codec/values.ts";
import type { ByteString, Inode, SessionId } from "./ids.ts";

/** What caches must forget: an inode's attributes (`content`: its data or its list of entries too), or an entry. */
export type Touched =
  | { readonly inode: Inode; readonly content: boolean }
  | { readonly parent: Inode; readonly name: ByteString };

/** What a command did that is not in the tree itself: the server makes pending copies, garbage and pushes of it. */
export interface Effects {
  /** The originator; 0: none. */
  readonly session: SessionId;
  readonly touched: readonly Touched[];
  readonly slicesAdded: readonly (SliceRecord & { readonly inode: Inode })[];
  /** Slices that nothing names any more. */
  readonly slicesDropped: readonly SliceRecord[];
  /** Inodes that lost their last link. */
  readonly orphaned: readonly Inode[];
  /** Inodes where a lock was given up: whoever waits may try again. */
  readonly unlocked: readonly Inode[];
  /** Slice ids granted once that can name nothing any more: what was stored under them is garbage. */
  readonly revoked: readonly IdRange[];
}

/** Collects them while a command is applied. Arrays are made only when there is something to put in. */
export class EffectsBuilder implements Effects {
  readonly session: SessionId;
  touched: Touched[] = NONE;
  slicesAdded: (SliceRecord & { readonly inode: Inode })[] = NONE;
  slicesDropped: SliceRecord[] = NONE;
  orphaned: Inode[] = NONE;
  unlocked: Inode[] = NONE;
  revoked: IdRange[] = NONE;

  constructor(session: SessionId) {
    this.session = session;
  }

  inode(inode: Inode, content: boolean): void {
    this.touched = push(this.touched, { inode, content });
  }

  entry(parent: Inode, name: ByteString): void {
    this.touched = push(this.touched, { parent, name });
  }

  sliceAdded(slice: SliceRecord, inode: Inode): void {
    this.slicesAdded = push(this.slicesAdded, { ...slice, inode });
  }

  sliceDropped(slice: SliceRecord): void {
    this.slicesDropped = push(this.slicesDropped, slice);
  }

  orphan(inode: Inode): void {
    this.orphaned = push(this.orphaned, inode);
  }

  unlock(inode: Inode): void {
    if (!this.unlocked.includes(inode)) this.unlocked = push(this.unlocked, inode);
  }

  revoke(range: IdRange): void {
    this.revoked = push(this.revoked, range);
  }
}

const NONE: never[] = [];

function push<T>(list: T[], item: T): T[] {
  if (list.length === 0) return [item];
  list.push(item);
  return list;
}
