import type { Attributes } from "../commands.ts";
import { type Inode, ROOT_INODE } from "../ids.ts";
import { isHidden, RESERVED_DIRECTORIES } from "../reserved.ts";
import type { Report, Snapshot } from "./snapshot.ts";

type Link = Snapshot["entries"][number];

/** Entries, links and parents: one connected tree, and orphans outside it. */
export function checkNames(state: Snapshot, report: Report): void {
  const root = state.attributes.get(ROOT_INODE);
  if (root?.kind !== "directory" || root.parent !== ROOT_INODE)
    report("the root is not a directory with itself as parent");
  for (const { inode, parent, name } of RESERVED_DIRECTORIES) {
    if (!state.entries.some((entry) => entry.parent === parent && entry.name === name && entry.inode === inode))
      report(`the reserved directory ${name} is not in ${parent}`);
  }
  const links = new Map<Inode, Link[]>();
  const children = new Map<Inode, Link[]>();
  for (const entry of state.entries) {
    append(links, entry.inode, entry);
    if (!isHidden(entry.parent, entry.name)) append(children, entry.parent, entry);
    const inode = state.attributes.get(entry.inode);
    const where = `entry ${JSON.stringify(entry.name)} of ${entry.parent}`;
    if (inode === undefined) report(`${where}: inode ${entry.inode} does not exist`);
    else if (inode.kind !== entry.kind) report(`${where}: kind is ${entry.kind}, the inode is a ${inode.kind}`);
    if (state.attributes.get(entry.parent)?.kind !== "directory") report(`${where}: the parent is not a directory`);
  }
  for (const [inode, attributes] of state.attributes) {
    if (attributes.inode !== inode) report(`inode ${inode}: its record has number ${attributes.inode}`);
    const own = links.get(inode) ?? [];
    if (attributes.kind === "directory") checkDirectory(state, attributes, own, children.get(inode) ?? [], report);
    else checkFile(state, attributes, own, report);
    if ((attributes.links === 0) !== state.orphans.has(inode))
      report(`inode ${inode}: ${attributes.links} links, but ${attributes.links === 0 ? "no" : "an"} orphan record`);
    if ((attributes.kind === "symlink") !== state.symlinks.has(inode))
      report(`inode ${inode}: a target without a symlink, or the reverse`);
    if (attributes.kind === "symlink" && attributes.size !== state.symlinks.get(inode)?.length) {
      report(`symlink ${inode}: its size is not the length of its target`);
    }
    if (attributes.xattrs !== (state.xattrs.get(inode) ?? 0))
      report(`inode ${inode}: ${attributes.xattrs} xattrs in its attributes, not as many records`);
  }
  for (const map of [state.orphans, state.symlinks, state.xattrs, state.extraLinks]) {
    for (const inode of map.keys())
      if (!state.attributes.has(inode)) report(`inode ${inode} does not exist, but a record of it does`);
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
  report: Report,
): void {
  const { inode } = directory;
  if (directory.entries !== children.length) {
    report(`directory ${inode}: entries is ${directory.entries}, it has ${children.length}`);
  }
  if (directory.links === 0) {
    if (own.length > 0 || directory.parent !== 0)
      report(`directory ${inode} was removed, but has an entry or a parent`);
    if (children.length > 0) report(`directory ${inode} was removed, but has entries`);
    return;
  }
  const links = 2 + children.filter((child) => child.kind === "directory").length;
  if (directory.links !== links) report(`directory ${inode}: links is ${directory.links}, it has ${links}`);
  if (inode === ROOT_INODE) {
    if (own.length > 0) report("an entry refers to the root");
    return;
  }
  if (own.length !== 1 || own[0]!.parent !== directory.parent) {
    report(`directory ${inode}: parent is ${directory.parent}, its entries are in [${own.map((e) => e.parent)}]`);
  }
  checkReachable(state, inode, report);
}

function checkReachable(state: Snapshot, directory: Inode, report: Report): void {
  const seen = new Set<Inode>();
  for (let at: Inode | undefined = directory; at !== ROOT_INODE; at = state.attributes.get(at)?.parent) {
    if (at === undefined || seen.has(at)) {
      report(`directory ${directory} is not reachable from the root`);
      return;
    }
    seen.add(at);
  }
}

function checkFile(state: Snapshot, file: Attributes, own: readonly Link[], report: Report): void {
  if (file.links !== own.length) report(`inode ${file.inode}: links is ${file.links}, it has ${own.length}`);
  const extra = state.extraLinks.get(file.inode) ?? [];
  const place = (link: { parent: Inode; name: string }) => `${link.parent}/${link.name}`;
  const extraPlaces = new Set(extra.map(place));
  const inParent = own.filter((link) => !extraPlaces.delete(place(link)));
  if (extraPlaces.size > 0) report(`inode ${file.inode}: P keys for links that do not exist`);
  if (inParent.length !== (file.parent === 0 ? 0 : 1)) {
    report(`inode ${file.inode}: ${inParent.length} links without a P key, parent ${file.parent}`);
  } else if (inParent.length === 1 && inParent[0]!.parent !== file.parent) {
    report(`inode ${file.inode}: parent is ${file.parent}, the link is in ${inParent[0]!.parent}`);
  }
}
