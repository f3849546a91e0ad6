/** Paths of the volume: from a path to its inode, and back. */
import { RECORDS } from "../../core/codec/records.ts";
import { type ByteString, type Inode, ROOT_INODE } from "../../core/ids.ts";
import { entryKey, extraLinksPrefix, keyLink, keyName } from "../../core/keys.ts";
import type { Machine } from "../machine/machine.ts";

const DEPTH_MAX = 4096;

/** The inode at a path of the volume (UTF-8, from "/"). Symbolic links are not followed. */
export function resolvePath(machine: Machine, path: string): Inode | "ENOENT" | "ENOTDIR" {
  let inode = ROOT_INODE;
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (machine.tree.attributes(inode)?.kind !== "directory") return "ENOTDIR";
    const entry = machine.tree.entry(inode, Buffer.from(part).toString("latin1") as ByteString);
    if (entry === undefined) return "ENOENT";
    inode = entry.inode;
  }
  return inode;
}

/** One path of an inode; undefined if it has no name. Costs a scan of each directory on the path: entries are keyed by name. */
export async function pathOf(machine: Machine, inode: Inode): Promise<string | undefined> {
  const parts: string[] = [];
  let at = inode;
  while (at !== ROOT_INODE) {
    if (parts.length > DEPTH_MAX) return undefined;
    const link = await linkOf(machine, at);
    if (link === undefined) return undefined;
    parts.push(Buffer.from(link.name, "latin1").toString());
    at = link.parent;
  }
  return `/${parts.reverse().join("/")}`;
}

async function linkOf(machine: Machine, inode: Inode): Promise<{ parent: Inode; name: ByteString } | undefined> {
  const attributes = machine.tree.attributes(inode);
  if (attributes === undefined) return undefined;
  if (attributes.parent !== 0) {
    for await (const page of machine.view.pages(entryKey(attributes.parent, "" as ByteString))) {
      for (const [key, value] of page) {
        if (RECORDS.entry.decode(value).inode === inode) return { parent: attributes.parent, name: keyName(key) };
      }
    }
  }
  const [extra] = await machine.view.range(extraLinksPrefix(inode), undefined, 1);
  return extra === undefined ? undefined : keyLink(extra[0]);
}
