/**
 * The sequential specification of a few directories with a few names, and of what they name: which completions each
 * operation may have in each state. It knows nothing of core, so that core cannot be wrong in the same way.
 */
import type { Outcome } from "../../../core/commands.ts";
import { type Content, contentWith, truncated } from "./content.ts";
import type { Model } from "./linearizability.ts";

export interface Lock {
  readonly inode: number;
  readonly owner: string;
  readonly mode: "read" | "write";
}

/** An operation in a directory, by name or by inode. */
export type Invocation =
  | { readonly kind: "make"; readonly name: string; readonly isDirectory: boolean }
  | { readonly kind: "unlink" | "rmdir" | "lookup"; readonly name: string }
  | { readonly kind: "link"; readonly inode: number; readonly name: string }
  | {
      readonly kind: "rename";
      readonly name: string;
      readonly to: string;
      readonly toDirectory: number;
      readonly mode: "replace" | "noreplace" | "exchange";
    }
  | { readonly kind: "setOwner"; readonly inode: number; readonly owner: number }
  /** Sizes and offsets are in units of content.ts. */
  | { readonly kind: "truncate"; readonly inode: number; readonly size: number }
  | {
      readonly kind: "write";
      readonly inode: number;
      readonly at: number;
      readonly units: number;
      readonly slice: number;
      readonly home: number;
    }
  | ({ readonly kind: "lock" } & Lock)
  | ({ readonly kind: "unlock" } & Lock)
  /** By a name that the client knows; ESTALE if it does not name this inode. */
  | { readonly kind: "open"; readonly inode: number; readonly name: string }
  /** `isOpen`: through a descriptor. That an open file is not gone is checked when the read completes. */
  | { readonly kind: "getattr" | "read"; readonly inode: number; readonly isOpen: boolean }
  | { readonly kind: "list" };

/** An operation's result. The owner represents any attribute. */
export interface Completion {
  /** Empty: success. */
  readonly error: string;
  readonly inode?: number | undefined;
  readonly links?: number | undefined;
  readonly owner?: number | undefined;
  /** In bytes. */
  readonly size?: number | undefined;
  readonly content?: Content | undefined;
  readonly entries?: readonly (readonly [string, number])[];
}

export function completionOf(outcome: Outcome): Completion {
  if (!outcome.ok) return { error: outcome.error };
  const { attributes } = outcome;
  if (attributes === undefined) return { error: "" };
  return { error: "", inode: attributes.inode, links: attributes.links, owner: attributes.uid, size: attributes.size };
}

export interface TreeOperation {
  readonly directory: number;
  readonly invocation: Invocation;
  readonly completion: Completion;
}

interface Inode {
  readonly isDirectory: boolean;
  readonly links: number;
  readonly owner: number;
  /** In bytes. */
  readonly size: number;
  readonly content: Content;
}

export interface TreeState {
  /** By `directory/name`. */
  readonly names: ReadonlyMap<string, number>;
  /** Inodes that have at least one name. */
  readonly inodes: ReadonlyMap<number, Inode>;
}

type Step<K extends Invocation["kind"]> = (
  state: TreeState,
  invocation: Extract<Invocation, { kind: K }>,
  completion: Completion,
  directory: number,
) => TreeState | undefined;

/** An inode without a name is kept while it is open and reaped some time later: both answers are correct. */
const GONE = new Set(["ESTALE", "ENOENT"]);
/** Checked before the inode is looked up. */
const UNLINKABLE = new Set(["EEXIST", "EPERM"]);
/** A slice's id may be wrong on purpose, or granted to a session that has ended. */
const WRONG_ID = new Set(["ESTALE", "EEXIST"]);
const DIRECTORY_BYTES = 4096;
const EMPTY: Content = [];

const steps: { readonly [K in Invocation["kind"]]: Step<K> } = {
  make(state, { name, isDirectory }, completion, directory) {
    if (state.names.has(key(directory, name))) return refusedBy(state, completion, "EEXIST");
    const { error, inode } = completion;
    if (error !== "" || inode === undefined || state.inodes.has(inode)) return undefined;
    const size = isDirectory ? DIRECTORY_BYTES : 0;
    const made = { isDirectory, links: isDirectory ? 2 : 1, owner: 0, size, content: EMPTY };
    return put(state, [[key(directory, name), inode]], [[inode, made]]);
  },
  unlink(state, { name }, completion, directory) {
    const inode = state.names.get(key(directory, name));
    if (inode === undefined) return refusedBy(state, completion, "ENOENT");
    if (state.inodes.get(inode)!.isDirectory) return refusedBy(state, completion, "EISDIR");
    return completion.error === "" ? without(state, key(directory, name)) : undefined;
  },
  rmdir(state, { name }, completion, directory) {
    const inode = state.names.get(key(directory, name));
    if (inode === undefined) return refusedBy(state, completion, "ENOENT");
    if (!state.inodes.get(inode)!.isDirectory) return refusedBy(state, completion, "ENOTDIR");
    return completion.error === "" ? without(state, key(directory, name)) : undefined;
  },
  link(state, { inode, name }, completion, directory) {
    const linked = state.inodes.get(inode);
    if (linked === undefined) return GONE.has(completion.error) || UNLINKABLE.has(completion.error) ? state : undefined;
    if (state.names.has(key(directory, name))) return refusedBy(state, completion, "EEXIST");
    if (linked.isDirectory) return refusedBy(state, completion, "EPERM");
    if (completion.error !== "") return undefined;
    return put(state, [[key(directory, name), inode]], [[inode, { ...linked, links: linked.links + 1 }]]);
  },
  rename,
  setOwner(state, { inode, owner }, completion) {
    const found = state.inodes.get(inode);
    if (found === undefined) return GONE.has(completion.error) || completion.error === "" ? state : undefined;
    return completion.error === "" ? put(state, [], [[inode, { ...found, owner }]]) : undefined;
  },
  truncate(state, { inode, size }, completion) {
    const found = state.inodes.get(inode);
    if (found === undefined || found.isDirectory) return state;
    if (completion.error !== "") return undefined;
    return put(state, [], [[inode, { ...found, ...truncated(found.content, size) }]]);
  },
  write(state, { inode, at, units, slice }, completion) {
    const found = state.inodes.get(inode);
    if (found === undefined || found.isDirectory) return state;
    if (completion.error !== "") return WRONG_ID.has(completion.error) ? state : undefined;
    return put(state, [], [[inode, { ...found, ...contentWith(found, { at, units, slice }) }]]);
  },
  // Whether locks exclude each other is checked when they are acknowledged: lock-checker.ts.
  lock: (state) => state,
  unlock: (state) => state,
  lookup(state, { name }, completion, directory) {
    const inode = state.names.get(key(directory, name));
    if (inode === undefined) return refusedBy(state, completion, "ENOENT");
    return completion.inode === inode && fits(state.inodes.get(inode)!, completion) ? state : undefined;
  },
  open(state, { inode, name }, completion, directory) {
    if (state.names.get(key(directory, name)) !== inode) return refusedBy(state, completion, "ESTALE");
    return fits(state.inodes.get(inode)!, completion) ? state : undefined;
  },
  getattr(state, { inode }, completion) {
    const found = state.inodes.get(inode);
    if (found !== undefined) return fits(found, completion) ? state : undefined;
    return GONE.has(completion.error) || (completion.error === "" && completion.links === 0) ? state : undefined;
  },
  read(state, { inode }, completion) {
    const found = state.inodes.get(inode);
    return found === undefined || (completion.error === "" && isContent(found, completion)) ? state : undefined;
  },
  list(state, _invocation, completion, directory) {
    const prefix = `${directory}/`;
    let count = 0;
    for (const name of state.names.keys()) if (name.startsWith(prefix)) count++;
    if (completion.error !== "" || completion.entries?.length !== count) return undefined;
    return completion.entries.every(([name, inode]) => state.names.get(prefix + name) === inode) ? state : undefined;
  },
};

function rename(
  state: TreeState,
  { name, to, toDirectory, mode }: Extract<Invocation, { kind: "rename" }>,
  completion: Completion,
  directory: number,
): TreeState | undefined {
  const from = key(directory, name);
  const onto = key(toDirectory, to);
  const source = state.names.get(from);
  const target = state.names.get(onto);
  if (source === undefined) return refusedBy(state, completion, "ENOENT");
  if (mode === "noreplace" && target !== undefined) return refusedBy(state, completion, "EEXIST");
  if (mode === "exchange" && target === undefined) return refusedBy(state, completion, "ENOENT");
  if (source === target) return completion.error === "" ? state : undefined;
  const moved = state.inodes.get(source)!;
  const there = target === undefined ? undefined : state.inodes.get(target)!;
  if (mode === "exchange") {
    const both: [string, number][] = [
      [from, target!],
      [onto, source],
    ];
    return completion.error === "" ? put(state, both, []) : undefined;
  }
  if (there !== undefined && moved.isDirectory !== there.isDirectory) {
    return refusedBy(state, completion, moved.isDirectory ? "ENOTDIR" : "EISDIR");
  }
  if (completion.error !== "" || completion.inode !== source) return undefined;
  const bare = target === undefined ? state : without(state, onto);
  const names = new Map(bare.names);
  names.delete(from);
  names.set(onto, source);
  return { names, inodes: bare.inodes };
}

export const treeModel: Model<TreeOperation, TreeState> = {
  initial: { names: new Map(), inodes: new Map() },
  step: (state, { directory, invocation, completion }) =>
    (steps[invocation.kind] as Step<Invocation["kind"]>)(state, invocation as never, completion, directory),
  nameOf({ names, inodes }) {
    const texts: string[] = [];
    for (const [name, inode] of names) {
      const { links, owner, size, content } = inodes.get(inode)!;
      texts.push(`${name}=${inode},${links},${owner},${size},${content.join()}`);
    }
    return texts.sort().join(";");
  },
};

function key(directory: number, name: string): string {
  return `${directory}/${name}`;
}

function refusedBy(state: TreeState, completion: Completion, error: string): TreeState | undefined {
  return completion.error === error ? state : undefined;
}

function fits(inode: Inode, completion: Completion): boolean {
  const { error, links, owner, size } = completion;
  if (error !== "" || links !== inode.links || owner !== inode.owner) return false;
  return size === inode.size && isContent(inode, completion);
}

function isContent(inode: Inode, { content }: Completion): boolean {
  return content === undefined || content.join() === inode.content.join();
}

function put(
  state: TreeState,
  names: readonly (readonly [string, number])[],
  inodes: readonly (readonly [number, Inode])[],
): TreeState {
  return {
    names: names.length === 0 ? state.names : new Map([...state.names, ...names]),
    inodes: inodes.length === 0 ? state.inodes : new Map([...state.inodes, ...inodes]),
  };
}

function without(state: TreeState, name: string): TreeState {
  const names = new Map(state.names);
  const inodes = new Map(state.inodes);
  const inode = names.get(name)!;
  const { links, ...rest } = inodes.get(inode)!;
  names.delete(name);
  if (rest.isDirectory || links === 1) inodes.delete(inode);
  else inodes.set(inode, { ...rest, links: links - 1 });
  return { names, inodes };
}
