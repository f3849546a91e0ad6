/** A small file system: one directory, a few names. What its operations may come to, one after another. */
import type { Model } from "./linearizability.ts";

/** What was asked of a directory, by name or by inode. */
export type Asked =
  | { readonly kind: "make"; readonly name: string; readonly isDirectory: boolean }
  | { readonly kind: "unlink" | "rmdir" | "lookup"; readonly name: string }
  | { readonly kind: "link"; readonly inode: number; readonly name: string }
  | {
      readonly kind: "rename";
      readonly name: string;
      readonly to: string;
      readonly mode: "replace" | "noreplace" | "exchange";
    }
  | { readonly kind: "setOwner"; readonly inode: number; readonly owner: number }
  | { readonly kind: "getattr"; readonly inode: number }
  | { readonly kind: "list" };

/** What it came to. Of an inode: its links and its owner, which stands for any attribute. */
export interface Came {
  /** Empty: it was done. */
  readonly error: string;
  readonly inode?: number;
  readonly links?: number;
  readonly owner?: number;
  readonly entries?: readonly (readonly [string, number])[];
}

export interface DirectoryOperation {
  readonly asked: Asked;
  readonly came: Came;
}

interface Inode {
  readonly isDirectory: boolean;
  readonly links: number;
  readonly owner: number;
}

export interface DirectoryState {
  readonly names: ReadonlyMap<string, number>;
  /** Of those that have a name. */
  readonly inodes: ReadonlyMap<number, Inode>;
}

type Step<K extends Asked["kind"]> = (
  state: DirectoryState,
  asked: Extract<Asked, { kind: K }>,
  came: Came,
) => DirectoryState | undefined;

/** Gone inodes are kept for who has them open, and reaped at some time: both answers are right. */
const GONE = new Set(["ESTALE", "ENOENT"]);
/** What is looked at before that. */
const UNLINKABLE = new Set(["EEXIST", "EPERM"]);

const steps: { readonly [K in Asked["kind"]]: Step<K> } = {
  make(state, { name, isDirectory }, came) {
    if (state.names.has(name)) return refusedBy(state, came, "EEXIST");
    if (came.error !== "" || came.inode === undefined || state.inodes.has(came.inode)) return undefined;
    const made = { isDirectory, links: isDirectory ? 2 : 1, owner: 0 };
    return put(state, [[name, came.inode]], [[came.inode, made]]);
  },
  unlink(state, { name }, came) {
    const inode = state.names.get(name);
    if (inode === undefined) return refusedBy(state, came, "ENOENT");
    if (state.inodes.get(inode)!.isDirectory) return refusedBy(state, came, "EISDIR");
    return came.error === "" ? without(state, name) : undefined;
  },
  rmdir(state, { name }, came) {
    const inode = state.names.get(name);
    if (inode === undefined) return refusedBy(state, came, "ENOENT");
    if (!state.inodes.get(inode)!.isDirectory) return refusedBy(state, came, "ENOTDIR");
    return came.error === "" ? without(state, name) : undefined;
  },
  link(state, { inode, name }, came) {
    const linked = state.inodes.get(inode);
    if (linked === undefined) return GONE.has(came.error) || UNLINKABLE.has(came.error) ? state : undefined;
    if (state.names.has(name)) return refusedBy(state, came, "EEXIST");
    if (linked.isDirectory) return refusedBy(state, came, "EPERM");
    if (came.error !== "") return undefined;
    return put(state, [[name, inode]], [[inode, { ...linked, links: linked.links + 1 }]]);
  },
  rename,
  setOwner(state, { inode, owner }, came) {
    const found = state.inodes.get(inode);
    if (found === undefined) return GONE.has(came.error) || came.error === "" ? state : undefined;
    return came.error === "" ? put(state, [], [[inode, { ...found, owner }]]) : undefined;
  },
  lookup(state, { name }, came) {
    const inode = state.names.get(name);
    if (inode === undefined) return refusedBy(state, came, "ENOENT");
    return came.error === "" && came.inode === inode && fits(state.inodes.get(inode)!, came) ? state : undefined;
  },
  getattr(state, { inode }, came) {
    const found = state.inodes.get(inode);
    if (found === undefined) return GONE.has(came.error) || (came.error === "" && came.links === 0) ? state : undefined;
    return came.error === "" && fits(found, came) ? state : undefined;
  },
  list(state, _asked, came) {
    if (came.error !== "" || came.entries?.length !== state.names.size) return undefined;
    return came.entries.every(([name, inode]) => state.names.get(name) === inode) ? state : undefined;
  },
};

function rename(
  state: DirectoryState,
  { name, to, mode }: Extract<Asked, { kind: "rename" }>,
  came: Came,
): DirectoryState | undefined {
  const source = state.names.get(name);
  const target = state.names.get(to);
  if (source === undefined) return refusedBy(state, came, "ENOENT");
  if (mode === "noreplace" && target !== undefined) return refusedBy(state, came, "EEXIST");
  if (mode === "exchange" && target === undefined) return refusedBy(state, came, "ENOENT");
  if (source === target) return came.error === "" ? state : undefined;
  const moved = state.inodes.get(source)!;
  const there = target === undefined ? undefined : state.inodes.get(target)!;
  if (mode === "exchange") {
    const both: [string, number][] = [
      [name, target!],
      [to, source],
    ];
    return came.error === "" ? put(state, both, []) : undefined;
  }
  if (there !== undefined && moved.isDirectory !== there.isDirectory) {
    return refusedBy(state, came, moved.isDirectory ? "ENOTDIR" : "EISDIR");
  }
  if (came.error !== "" || came.inode !== source) return undefined;
  const bare = target === undefined ? state : without(state, to);
  const names = new Map(bare.names);
  names.delete(name);
  names.set(to, source);
  return { names, inodes: bare.inodes };
}

export const directoryModel: Model<DirectoryOperation, DirectoryState> = {
  initial: { names: new Map(), inodes: new Map() },
  step: (state, { asked, came }) => (steps[asked.kind] as Step<Asked["kind"]>)(state, asked as never, came),
  nameOf({ names, inodes }) {
    let text = "";
    for (const name of [...names.keys()].sort()) {
      const inode = names.get(name)!;
      const { links, owner } = inodes.get(inode)!;
      text += `${name}=${inode},${links},${owner};`;
    }
    return text;
  },
};

function refusedBy(state: DirectoryState, came: Came, error: string): DirectoryState | undefined {
  return came.error === error ? state : undefined;
}

function fits(inode: Inode, came: Came): boolean {
  return came.links === inode.links && came.owner === inode.owner;
}

function put(
  state: DirectoryState,
  names: readonly (readonly [string, number])[],
  inodes: readonly (readonly [number, Inode])[],
): DirectoryState {
  return { names: new Map([...state.names, ...names]), inodes: new Map([...state.inodes, ...inodes]) };
}

function without(state: DirectoryState, name: string): DirectoryState {
  const names = new Map(state.names);
  const inodes = new Map(state.inodes);
  const inode = names.get(name)!;
  const { links, ...rest } = inodes.get(inode)!;
  names.delete(name);
  if (rest.isDirectory || links === 1) inodes.delete(inode);
  else inodes.set(inode, { ...rest, links: links - 1 });
  return { names, inodes };
}
