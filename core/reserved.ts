/**
 * The directories that `format` makes below the root: `.mirrorfs` and what is in it. `.mirrorfs` is found by its name, but is
 * in no listing and does not count among the root's entries and links, so a program that walks the tree never meets it. No
 * command makes, renames or removes one of these names or another one beside them, or changes the directories' own attributes
 * (EPERM); only `lost+found` is filled by ordinary commands. Nothing is written there yet.
 *
 * The directories belong to root and have mode 0700, which is all that keeps others out. The kernel caches names for all
 * users alike: had a lookup different answers for root and for others, the first one to ask would decide for everybody.
 */

import { type ByteString, FIRST_INODE, type Inode, ROOT_INODE } from "./ids.ts";

const SYSTEM_INODE = 2 as Inode;
const TRASH_INODE = 3 as Inode;
const LOST_AND_FOUND_INODE = 4 as Inode;
const SYSTEM_NAME = ".mirrorfs" as ByteString;

export const RESERVED_DIRECTORIES: readonly {
  readonly inode: Inode;
  readonly parent: Inode;
  readonly name: ByteString;
}[] = [
  { inode: SYSTEM_INODE, parent: ROOT_INODE, name: SYSTEM_NAME },
  { inode: TRASH_INODE, parent: SYSTEM_INODE, name: "trash" as ByteString },
  { inode: LOST_AND_FOUND_INODE, parent: SYSTEM_INODE, name: "lost+found" as ByteString },
];

/** Whether an entry is left out of listings, and of its directory's counts. */
export function isHidden(parent: Inode, name: ByteString): boolean {
  return parent === ROOT_INODE && name === SYSTEM_NAME;
}

/** Whether no command may make, rename or remove this name. */
export function isReservedName(parent: Inode, name: ByteString): boolean {
  return parent === SYSTEM_INODE || parent === TRASH_INODE || isHidden(parent, name);
}

/** Whether no command may change the inode's own attributes. */
export function isReservedInode(inode: Inode): boolean {
  return inode < FIRST_INODE && inode !== ROOT_INODE;
}
