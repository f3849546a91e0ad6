/** What the simulated clients do: the operations they draw, and their requests and answers. */
import type { ClientSession } from "../../client/volume/metadata/client-session.ts";
import type { Router } from "../../client/volume/metadata/router.ts";
import { decodeAttributes } from "../../core/codec.ts";
import type { Command } from "../../core/commands.ts";
import type { ByteString, Inode } from "../../core/ids.ts";
import { type Response, Status } from "../../proto/generated/metadata.ts";
import { type Completion, completionOf, type Invocation } from "./checks/directory-model.ts";
import type { Prng } from "./environment/prng.ts";

export type RequestBody = Parameters<Router["read"]>[0];

/** So few names that operations of different clients collide. */
const NAMES = ["a", "b", "c", "d"] as const;

export interface DrawOptions {
  readonly readOnly: boolean;
  /** Inodes that the client has seen in the directory. */
  readonly knownInodes: readonly number[];
  /** An owner that no other operation sets. */
  readonly nextOwner: () => number;
}

export function drawInvocation(prng: Prng, { readOnly, knownInodes, nextOwner }: DrawOptions): Invocation {
  const name = prng.pick(NAMES);
  const inode = knownInodes.length > 0 ? prng.pick(knownInodes) : 0;
  const reads: (() => Invocation)[] = [
    () => ({ kind: "lookup", name }),
    () => ({ kind: "lookup", name }),
    () => ({ kind: "list" }),
  ];
  if (readOnly) return prng.pick(reads)();
  const operations: (() => Invocation)[] = [
    ...reads,
    () => ({ kind: "make", name, isDirectory: prng.chance(0.2) }),
    () => ({ kind: "make", name, isDirectory: false }),
    () => ({ kind: "unlink", name }),
    () => ({ kind: "unlink", name }),
    () => ({ kind: "rmdir", name }),
    () => ({
      kind: "rename",
      name,
      to: prng.pick(NAMES),
      mode: prng.pick(["replace", "replace", "noreplace", "exchange"] as const),
    }),
  ];
  if (inode !== 0) {
    const owner = nextOwner();
    operations.push(
      () => ({ kind: "setOwner", inode, owner }),
      () => ({ kind: "setOwner", inode, owner }),
      () => ({ kind: "getattr", inode }),
      () => ({ kind: "getattr", inode }),
      () => ({ kind: "link", inode, name }),
    );
  }
  return prng.pick(operations)();
}

export function makeCommand(parent: number, name: string, isDirectory: boolean): Command {
  return {
    kind: "make",
    parent: parent as Inode,
    name: name as ByteString,
    inodeKind: isDirectory ? "directory" : "file",
    mode: 0o755,
    uid: 0,
    gid: 0,
    device: 0,
    target: "" as ByteString,
  };
}

/** The command of a change; undefined for a read. */
export function commandOf(directory: number, invocation: Invocation): Command | undefined {
  const parent = directory as Inode;
  switch (invocation.kind) {
    case "make":
      return makeCommand(directory, invocation.name, invocation.isDirectory);
    case "unlink":
    case "rmdir":
      return { kind: invocation.kind, parent, name: invocation.name as ByteString };
    case "link":
      return { kind: "link", inode: invocation.inode as Inode, parent, name: invocation.name as ByteString };
    case "rename": {
      const { name, to, mode } = invocation;
      return { kind: "rename", parent, name: name as ByteString, newParent: parent, newName: to as ByteString, mode };
    }
    case "setOwner":
      return { kind: "setattr", inode: invocation.inode as Inode, uid: invocation.owner };
    default:
      return undefined;
  }
}

export function readOf(directory: number, invocation: Invocation): RequestBody {
  if (invocation.kind === "lookup") {
    return { $case: "lookup", value: { parent: directory, name: Buffer.from(invocation.name, "latin1") } };
  }
  if (invocation.kind === "getattr") return { $case: "getAttributes", value: { inode: invocation.inode } };
  return {
    $case: "readDirectory",
    value: { inode: directory, after: Buffer.alloc(0), limit: 100, attributes: false },
  };
}

/** Undefined: the change's outcome is indeterminate. */
export function completionOfChange(done: Awaited<ReturnType<ClientSession["mutate"]>>): Completion | undefined {
  if (done === "EIO" || done === "EINTR") return undefined;
  return typeof done === "string" ? { error: done } : completionOf(done.outcome);
}

export function completionOfRead(invocation: Invocation, answer: Response): Completion {
  if (answer.status !== Status.OK) return { error: answer.error };
  if (invocation.kind === "list") {
    return { error: "", entries: answer.entries.map(({ name, inode }) => [name.toString("latin1"), inode] as const) };
  }
  const { inode, links, uid } = decodeAttributes(answer.attributes);
  return { error: "", inode, links, owner: uid };
}
