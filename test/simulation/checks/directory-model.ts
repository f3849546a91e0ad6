/**
 * The sequential specification of a directory with a few names: which completions each operation may have in each
 * state.
 */
import type { Outcome } from "../../../core/commands.ts";
import type { Model } from "./linearizability.ts";

/** An operation on a directory, by name or by inode. */
export type Invocation =
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

/** An operation's result. Of an inode: its link count and its owner, which represents any attribute. */
export interface Completion {
  /** Empty: success. */
  readonly error: string;
  readonly inode?: number;
  readonly links?: number;
  readonly owner?: number;
  readonly entries?: readonly (readonly [string, number])[];
}

export function completionOf(outcome: Outcome): Completion {
  if (!outcome.ok) return { error: outcome.error };
  const { attributes } = outcome;
  if (attributes === undefined) return { error: "" };
  return { error: "", inode: attributes.inode, links: attributes.links, owner: attributes.uid };
}

export interface DirectoryOperation {
  readonly invocation: Invocation;
  readonly completion: Completion;
}

interface Inode {
  readonly isDirectory: boolean;
  readonly links: number;
  readonly owner: number;
}

export interface DirectoryState {
  readonly names: ReadonlyMap<string, number>;
  /** Inodes that have at least one name. */
  readonly inodes: ReadonlyMap<number, Inode>;
}

type Step<K extends Invocation["kind"]> = (
  state: DirectoryState,
  invocation: Extract<Invocation, { kind: K }>,
  completion: Completion,
) => DirectoryState | undefined;

/** An inode without a name is kept while it is open and reaped some time later: both answers are correct. */
const GONE = new Set(["ESTALE", "ENOENT"]);
/** Checked before the inode is looked up. */
const UNLINKABLE = new Set(["EEXIST", "EPERM"]);

const steps: { readonly [K in Invocation["kind"]]: Step<K> } = {
  make(state, { name, isDirectory }, completion) {
    if (state.names.has(name)) return refusedBy(state, completion, "EEXIST");
    if (completion.error !== "" || completion.inode === undefined || state.inodes.has(completion.inode))
      return undefined;
    const made = { isDirectory, links: isDirectory ? 2 : 1, owner: 0 };
    return put(state, [[name, completion.inode]], [[completion.inode, made]]);
  },
  unlink(state, { name }, completion) {
    const inode = state.names.get(name);
    if (inode === undefined) return refusedBy(state, completion, "ENOENT");
    if (state.inodes.get(inode)!.isDirectory) return refusedBy(state, completion, "EISDIR");
    return completion.error === "" ? without(state, name) : undefined;
  },
  rmdir(state, { name }, completion) {
    const inode = state.names.get(name);
    if (inode === undefined) return refusedBy(state, completion, "ENOENT");
    if (!state.inodes.get(inode)!.isDirectory) return refusedBy(state, completion, "ENOTDIR");
    return completion.error === "" ? without(state, name) : undefined;
  },
  link(state, { inode, name }, completion) {
    const linked = state.inodes.get(inode);
    if (linked === undefined) return GONE.has(completion.error) || UNLINKABLE.has(completion.error) ? state : undefined;
    if (state.names.has(name)) return refusedBy(state, completion, "EEXIST");
    if (linked.isDirectory) return refusedBy(state, completion, "EPERM");
    if (completion.error !== "") return undefined;
    return put(state, [[name, inode]], [[inode, { ...linked, links: linked.links + 1 }]]);
  },
  rename,
  setOwner(state, { inode, owner }, completion) {
    const found = state.inodes.get(inode);
    if (found === undefined) return GONE.has(completion.error) || completion.error === "" ? state : undefined;
    return completion.error === "" ? put(state, [], [[inode, { ...found, owner }]]) : undefined;
  },
  lookup(state, { name }, completion) {
    const inode = state.names.get(name);
    if (inode === undefined) return refusedBy(state, completion, "ENOENT");
    return completion.error === "" && completion.inode === inode && fits(state.inodes.get(inode)!, completion)
      ? state
      : undefined;
  },
  getattr(state, { inode }, completion) {
    const found = state.inodes.get(inode);
    if (found === undefined)
      return GONE.has(completion.error) || (completion.error === "" && completion.links === 0) ? state : undefined;
    return completion.error === "" && fits(found, completion) ? state : undefined;
  },
  list(state, _invocation, completion) {
    if (completion.error !== "" || completion.entries?.length !== state.names.size) return undefined;
    return completion.entries.every(([name, inode]) => state.names.get(name) === inode) ? state : undefined;
  },
};

function rename(
  state: DirectoryState,
  { name, to, mode }: Extract<Invocation, { kind: "rename" }>,
  completion: Completion,
): DirectoryState | undefined {
  const source = state.names.get(name);
  const target = state.names.get(to);
  if (source === undefined) return refusedBy(state, completion, "ENOENT");
  if (mode === "noreplace" && target !== undefined) return refusedBy(state, completion, "EEXIST");
  if (mode === "exchange" && target === undefined) return refusedBy(state, completion, "ENOENT");
  if (source === target) return completion.error === "" ? state : undefined;
  const moved = state.inodes.get(source)!;
  const there = target === undefined ? undefined : state.inodes.get(target)!;
  if (mode === "exchange") {
    const both: [string, number][] = [
      [name, target!],
      [to, source],
    ];
    return completion.error === "" ? put(state, both, []) : undefined;
  }
  if (there !== undefined && moved.isDirectory !== there.isDirectory) {
    return refusedBy(state, completion, moved.isDirectory ? "ENOTDIR" : "EISDIR");
  }
  if (completion.error !== "" || completion.inode !== source) return undefined;
  const bare = target === undefined ? state : without(state, to);
  const names = new Map(bare.names);
  names.delete(name);
  names.set(to, source);
  return { names, inodes: bare.inodes };
}

export const directoryModel: Model<DirectoryOperation, DirectoryState> = {
  initial: { names: new Map(), inodes: new Map() },
  step: (state, { invocation, completion }) =>
    (steps[invocation.kind] as Step<Invocation["kind"]>)(state, invocation as never, completion),
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

function refusedBy(state: DirectoryState, completion: Completion, error: string): DirectoryState | undefined {
  return completion.error === error ? state : undefined;
}

function fits(inode: Inode, completion: Completion): boolean {
  return completion.links === inode.links && completion.owner === inode.owner;
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
