import { currentProcess } from "./globals.ts";
import { StoredLevel } from "./stored-level.ts";
import type { Host, Process, World } from "./world.ts";

export interface FileNode {
  readonly kind: "file";
  content: string;
  /** What a power failure leaves of it. */
  synced: string;
}

export interface DirectoryNode {
  readonly kind: "directory";
  names: Map<string, Node>;
  syncedNames: Map<string, Node>;
  /** A database lies in it. */
  level: StoredLevel | undefined;
}

export type Node = FileNode | DirectoryNode;

/** What a disk does to those who use it, from now on. */
type Fault = "none" | "full" | "read-error";

/** Told of every batch that has become durable in a database, before anybody else is. */
export type DiskWatch = (path: string, puts: ReadonlyMap<string, Uint8Array | undefined>) => void;

/** A machine's disk: files, directories and databases, of which a crash or a power failure leaves what it must. */
export class Disk {
  readonly root: DirectoryNode = directory();
  /** A write or a read takes up to so long. */
  delayMsMax = 2;
  fault: Fault = "none";
  onDurable: DiskWatch = () => {};

  crashPoint(name: string): void {
    const { current } = this.#currentWorld();
    if (current?.alive === true) current.host.onCrashPoint(name);
  }

  #currentWorld(): World {
    return currentProcess().host.world;
  }

  /** Runs when the disk has answered, if the process still lives then. */
  schedule(run: () => void, ms = this.drawMs()): void {
    const process = currentProcess();
    if (!process.alive) return;
    const { world } = process.host;
    world.at(world.nowMs + ms, process, run);
  }

  /** The same as a promise; `work` may throw. */
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
    return this.#currentWorld().prng.between(0.05, this.delayMsMax);
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

  /** A process that holds databases open is gone; what it had asked to be written may have been, in order. */
  crashed(process: Process): void {
    const { prng } = process.host.world;
    for (const level of this.#levels(this.root)) level.crashed(prng);
  }

  /** What was not synced is lost, or part of it. */
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

/** Gives a host a disk of its own. */
export function attachDisk(host: Host): Disk {
  const disk = new Disk();
  disks.set(host, disk);
  return disk;
}

export function hasDisk(host: Host): boolean {
  return disks.has(host);
}

/** The disk of the host whose code runs. */
export function hostDisk(): Disk {
  const { host } = currentProcess();
  const disk = disks.get(host);
  if (disk === undefined) throw new Error(`${host.name} has no disk`);
  return disk;
}
