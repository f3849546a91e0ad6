import { decodeChunk } from "../../../core/codec.ts";
import type { Attributes } from "../../../core/commands.ts";
import { type ByteString, type Inode, ROOT_INODE, type SliceId } from "../../../core/ids.ts";
import { chunksPrefix, extraLinksPrefix, keyLink } from "../../../core/keys.ts";
import { decodePending, type Pending, pendingPrefix } from "../../machine/local-keys.ts";
import type { Machine } from "../../machine/machine.ts";

const DEPTH_MAX = 4096;

/** What holds a file's content: slices, and bytes in the chunks' own records. */
export interface Held {
  readonly slices: ReadonlySet<SliceId>;
  readonly inlineBytes: number;
}

export async function heldBy(machine: Machine, inode: Inode): Promise<Held> {
  const slices = new Set<SliceId>();
  let inlineBytes = 0;
  for await (const page of machine.view.pages(chunksPrefix(inode))) {
    for (const [, value] of page) {
      for (const segment of decodeChunk(value).segments) {
        if (segment.kind === "slice") slices.add(segment.slice);
        else inlineBytes += segment.data.length;
      }
    }
  }
  return { slices, inlineBytes };
}

/** The pending slices of a tree as it is now: those of a file's content, or of everything below a directory. */
export async function pendingBelow(machine: Machine, root: Attributes): Promise<Map<number, Pending>> {
  if (root.kind !== "directory") return pendingOfFile(machine, root.inode);
  const found = new Map<number, Pending>();
  const below = new Map<Inode, boolean>();
  for await (const page of machine.localPages(pendingPrefix(machine.facts.generation))) {
    for (const [, value] of page) {
      const pending = decodePending(value);
      if (await isBelow(machine, pending.inode as Inode, root.inode, below)) found.set(pending.slice, pending);
    }
  }
  return found;
}

async function pendingOfFile(machine: Machine, inode: Inode): Promise<Map<number, Pending>> {
  const { slices } = await heldBy(machine, inode);
  const found = new Map<number, Pending>();
  for (const slice of slices) {
    const pending = machine.facts.pending(slice);
    if (pending !== undefined) found.set(slice, pending);
  }
  return found;
}

/**
 * A slice whose file is unknown (it became pending in a bootstrap) counts for every tree: a wait may be too long, never too
 * short.
 */
async function isBelow(machine: Machine, inode: Inode, root: Inode, known: Map<Inode, boolean>): Promise<boolean> {
  if (root === ROOT_INODE || inode === 0) return true;
  const cached = known.get(inode);
  if (cached !== undefined) return cached;
  const answer = await climb(machine, inode, root, DEPTH_MAX);
  known.set(inode, answer);
  return answer;
}

async function climb(machine: Machine, inode: Inode, root: Inode, depthMax: number): Promise<boolean> {
  let at = inode;
  for (let depth = 0; depth < depthMax; depth += 1) {
    if (at === root) return true;
    const attributes = machine.tree.attributes(at);
    if (attributes === undefined || at === ROOT_INODE) return false;
    if (attributes.kind !== "directory" && (await hasLinkBelow(machine, at, root, depthMax))) return true;
    if (attributes.parent === 0) return false;
    at = attributes.parent;
  }
  return false;
}

async function hasLinkBelow(machine: Machine, inode: Inode, root: Inode, depthMax: number): Promise<boolean> {
  for await (const page of machine.view.pages(extraLinksPrefix(inode) as ByteString)) {
    for (const [key] of page) {
      if (await climb(machine, keyLink(key).parent, root, depthMax - 1)) return true;
    }
  }
  return false;
}
