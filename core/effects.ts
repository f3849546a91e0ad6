import type { IdRange } from "./codec/records.ts";
import type { SliceRecord } from "./codec/values.ts";
import type { ByteString, Inode, SessionId } from "./ids.ts";

/** What caches must invalidate: an inode's attributes (`content`: also its data or its entries), or a directory entry. */
export type Touched =
  | { readonly inode: Inode; readonly content: boolean }
  | { readonly parent: Inode; readonly name: ByteString };

/** What a command did besides changing the tree. The server derives pending copies, garbage and invalidations from it. */
export interface Effects {
  /** The session that sent the command; 0: none. */
  readonly session: SessionId;
  readonly touched: readonly Touched[];
  readonly slicesAdded: readonly (SliceRecord & { readonly inode: Inode })[];
  /** Slices that no segment references any longer. */
  readonly slicesDropped: readonly SliceRecord[];
  /** Inodes that lost their last link. */
  readonly orphaned: readonly Inode[];
  /** Inodes on which a lock was released: requests that wait for one may be retried. */
  readonly unlocked: readonly Inode[];
  /** Granted slice ids that can no longer be used: what was stored under them is garbage. */
  readonly revoked: readonly IdRange[];
}

/** Collects the effects while a command is applied. Most lists stay empty, so an array is allocated with its first item. */
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
