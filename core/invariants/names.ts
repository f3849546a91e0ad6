import type { Attributes } from "../commands.ts";
import { type Inode, ROOT_INODE } from "../ids.ts";
import type { Complain, Snapshot } from "./snapshot.ts";

type Link = Snapshot["entries"][number];

/** Entries, links, parents: one connected tree, and orphans beside it. */
export function checkNames(state: Snapshot, complain: Complain): void {
  const root = state.attributes.get(ROOT_INODE);
  if (root?.kind !== "directory" || root.parent !== ROOT_INODE) complain("the root is no directory in itself");
  const links = new Map<Inode, Link[]>();
  const children = new Map<Inode, Link[]>();
  for (const entry of state.entries) {
    append(links, entry.inode, entry);
    append(children, entry.parent, entry);
    const inode = state.attributes.get(entry.inode);
    const where = `entry ${JSON.stringify(entry.name)} of ${entry.parent}`;
    if (inode === undefined) complain(`${where} leads to inode ${entry.inode}, which is not there`);
    else if (inode.kind !== entry.kind) complain(`${where} says ${entry.kind}, the inode ${inode.kind}`);
    if (state.attributes.get(entry.parent)?.kind !== "directory") complain(`${where} is in no directory`);
  }
  for (const [inode, attributes] of state.attributes) {
    if (attributes.inode !== inode) complain(`inode ${inode} says it is ${attributes.inode}`);
    const own = links.get(inode) ?? [];
    if (attributes.kind === "directory") checkDirectory(state, attributes, own, children.get(inode) ?? [], complain);
    else checkFile(state, attributes, own, complain);
    if ((attributes.links === 0) !== state.orphans.has(inode)) complain(`inode ${inode}: links 0 and orphan disagree`);
    if ((attributes.kind === "symlink") !== state.symlinks.has(inode))
      complain(`inode ${inode}: target and kind disagree`);
    if (attributes.kind === "symlink" && attributes.size !== state.symlinks.get(inode)?.length) {
      complain(`symlink ${inode} has another size than its target`);
    }
    if (attributes.xattrs !== (state.xattrs.get(inode) ?? 0)) complain(`inode ${inode} miscounts its xattrs`);
  }
  for (const map of [state.orphans, state.symlinks, state.xattrs, state.extraLinks]) {
    for (const inode of map.keys())
      if (!state.attributes.has(inode)) complain(`inode ${inode} is gone, a record of it not`);
  }
}

function append(map: Map<Inode, Link[]>, key: Inode, link: Link): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [link]);
  else list.push(link);
}

function checkDirectory(
  state: Snapshot,
  directory: Attributes,
  own: readonly Link[],
  children: readonly Link[],
  complain: Complain,
): void {
  const { inode } = directory;
  if (directory.entries !== children.length) {
    complain(`directory ${inode} says ${directory.entries} entries, has ${children.length}`);
  }
  if (directory.links === 0) {
    if (own.length > 0 || directory.parent !== 0) complain(`directory ${inode} was removed and is still somewhere`);
    if (children.length > 0) complain(`directory ${inode} was removed with entries in it`);
    return;
  }
  const links = 2 + children.filter((child) => child.kind === "directory").length;
  if (directory.links !== links) complain(`directory ${inode} says ${directory.links} links, has ${links}`);
  if (inode === ROOT_INODE) {
    if (own.length > 0) complain("the root has an entry");
    return;
  }
  if (own.length !== 1 || own[0]!.parent !== directory.parent) {
    complain(`directory ${inode} says it is in ${directory.parent}, its entries are in [${own.map((e) => e.parent)}]`);
  }
  checkReachable(state, inode, complain);
}

function checkReachable(state: Snapshot, directory: Inode, complain: Complain): void {
  const seen = new Set<Inode>();
  for (let at: Inode | undefined = directory; at !== ROOT_INODE; at = state.attributes.get(at)?.parent) {
    if (at === undefined || seen.has(at)) {
      complain(`directory ${directory} cannot be reached from the root`);
      return;
    }
    seen.add(at);
  }
}

function checkFile(state: Snapshot, file: Attributes, own: readonly Link[], complain: Complain): void {
  if (file.links !== own.length) complain(`inode ${file.inode} says ${file.links} links, has ${own.length}`);
  const extra = state.extraLinks.get(file.inode) ?? [];
  const place = (link: { parent: Inode; name: string }) => `${link.parent}/${link.name}`;
  const known = new Set(extra.map(place));
  const told = own.filter((link) => !known.delete(place(link)));
  if (known.size > 0) complain(`inode ${file.inode} has P keys of links that are not there`);
  if (told.length !== (file.parent === 0 ? 0 : 1)) {
    complain(`inode ${file.inode} has ${told.length} links without a P key, parent ${file.parent}`);
  } else if (told.length === 1 && told[0]!.parent !== file.parent) {
    complain(`inode ${file.inode} says it is in ${file.parent}, it is in ${told[0]!.parent}`);
  }
}
