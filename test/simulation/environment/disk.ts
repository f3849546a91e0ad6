import { currentProcess } from "./globals.ts";
import { StoredLevel } from "./stored-level.ts";
import type { Host, Process, World } from "./world.ts";

export interface FileNode {
  readonly kind: "file";
  content: string;
  /** The content that survives a power failure. */
  synced: string;
}

export interface DirectoryNode {
  readonly kind: "directory";
  names: Map<string, Node>;
  syncedNames: Map<string, Node>;
  /** The database in this directory, if any. */
  level: StoredLevel | undefined;
}

export type Node = FileNode | DirectoryNode;

/** How the disk fails from now on. */
type Fault = "none" | "full" | "read-error";

/** Called with every batch that has become durable in a database, before its writer is notified. */
export type DiskWatch = (path: string, puts: ReadonlyMap<string, Uint8Array | undefined>) => void;

/**
 * A host's disk: files, directories and databases, with the durability that POSIX and LevelDB guarantee, and no more.
 */
export class Disk {
  readonly root: DirectoryNode = directory();
  /** The longest time that a read or a write takes. */
  delayMsMax = 2;
  fault: Fault = "none";
  onDurable: DiskWatch = () => {};

  crashPoint(name: string): void {
    const { current } = this.#world();
    if (current?.alive === true) current.host.onCrashPoint(name);
  }

  #world(): World {
    return currentProcess().host.world;
  }

  /** Runs when an I/O operation completes, unless the process has ended by then. */
  schedule(run: () => void, ms = this.drawMs()): void {
    const process = currentProcess();
    if (!process.alive) return;
    const { world } = process.host;
    world.at(world.nowMs + ms, process, run);
  }

  /** Performs `work` when an I/O operation completes. Rejects with what `work` throws. */
  perform<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.schedule(() => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  drawMs(): number {
    return this.#world().prng.between(0.05, this.delayMsMax);
  }

  find(path: string): Node | undefined {
    let node: Node | undefined = this.root;
    for (const part of path.split("/")) {
      if (part === "") continue;
      node = node?.kind === "directory" ? node.names.get(part) : undefined;
    }
    return node;
  }

  parentOf(path: string): { directory: DirectoryNode | undefined; name: string } {
    const at = path.lastIndexOf("/");
    const parent = this.find(path.slice(0, at));
    return { directory: parent?.kind === "directory" ? parent : undefined, name: path.slice(at + 1) };
  }

  makeDirectory(path: string): DirectoryNode {
    let node = this.root;
    for (const part of path.split("/")) {
      if (part === "") continue;
      let next = node.names.get(part);
      if (next === undefined) {
        next = directory();
        node.names.set(part, next);
      }
      if (next.kind !== "directory") throw failure("ENOTDIR", path);
      node = next;
    }
    return node;
  }

  /** The process was killed: of its writes in flight a prefix has reached the system. */
  crashed(process: Process): void {
    const { prng } = process.host.world;
    for (const level of this.#levels(this.root)) level.crashed(prng);
  }

  /** The power failed: what was not synced is lost, wholly or in part. */
  powerFailed(process: Process): void {
    const { prng } = process.host.world;
    const visit = (node: DirectoryNode) => {
      node.level?.powerFailed(prng);
      if (prng.chance(0.5)) node.names = new Map(node.syncedNames);
      else node.syncedNames = new Map(node.names);
      for (const below of node.names.values()) {
        if (below.kind === "directory") visit(below);
        else if (prng.chance(0.5)) below.content = below.synced;
        else below.synced = below.content;
      }
    };
    for (const home of this.root.names.values()) if (home.kind === "directory") visit(home);
  }

  *#levels(node: DirectoryNode): Generator<StoredLevel> {
    if (node.level !== undefined) yield node.level;
    for (const below of node.names.values()) if (below.kind === "directory") yield* this.#levels(below);
  }

  openLevel(path: string): StoredLevel {
    const node = this.makeDirectory(path);
    node.level ??= new StoredLevel(path);
    return node.level;
  }
}

function directory(): DirectoryNode {
  return { kind: "directory", names: new Map(), syncedNames: new Map(), level: undefined };
}

export function failure(code: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

const disks = new WeakMap<Host, Disk>();

/** Attaches a new disk to a host. */
export function attachDisk(host: Host): Disk {
  const disk = new Disk();
  disks.set(host, disk);
  return disk;
}

export function hasDisk(host: Host): boolean {
  return disks.has(host);
}

/** The disk of the host whose code is running. */
export function hostDisk(): Disk {
  const { host } = currentProcess();
  const disk = disks.get(host);
  if (disk === undefined) throw new Error(`${host.name} has no disk`);
  return disk;
}
