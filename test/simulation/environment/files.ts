/** Replaces node:fs/promises by files on the current host's simulated disk. */
import { type DirectoryNode, type Disk, type FileNode, failure, hostDisk, type Node } from "./disk.ts";

/** Represents all files of a database. */
const LEVEL_FILE = "000001.log";

/** @returns the first directory that was created */
export async function mkdir(path: string, _options: { recursive: true }): Promise<string | undefined> {
  const disk = hostDisk();
  return disk.perform(() => {
    const parts = path.split("/").filter((part) => part !== "");
    const paths = parts.map((_, index) => `/${parts.slice(0, index + 1).join("/")}`);
    const first = paths.find((one) => disk.find(one) === undefined);
    disk.makeDirectory(path);
    return first;
  });
}

/** Modes are not simulated. */
export async function chmod(_path: string, _mode: number): Promise<void> {}

interface Item {
  readonly name: string;
  isFile(): boolean;
}

export function readdir(path: string): Promise<string[]>;
export function readdir(path: string, options: { withFileTypes: true }): Promise<Item[]>;
export async function readdir(path: string, options?: { withFileTypes: true }): Promise<string[] | Item[]> {
  const disk = hostDisk();
  return disk.perform(() => {
    const node = directoryAt(disk, path);
    const items = [...node.names].map(([name, { kind }]) => ({ name, isFile: () => kind === "file" }));
    if (node.level !== undefined) items.push({ name: LEVEL_FILE, isFile: () => true });
    return options === undefined ? items.map(({ name }) => name) : items;
  });
}

export async function readFile(path: string, _encoding: "utf8"): Promise<string> {
  const disk = hostDisk();
  return disk.perform(() => {
    const node = disk.find(path);
    if (node?.kind !== "file") throw failure("ENOENT", path);
    return node.content;
  });
}

export async function rm(path: string, options: { recursive?: boolean; force?: boolean } = {}): Promise<void> {
  const disk = hostDisk();
  await disk.perform(() => {
    const { directory, name } = disk.parentOf(path);
    if (directory?.names.delete(name) !== true && options.force !== true) throw failure("ENOENT", path);
  });
  disk.crashPoint("removed");
}

export async function rename(from: string, to: string): Promise<void> {
  const disk = hostDisk();
  await disk.perform(() => {
    const source = disk.parentOf(from);
    const node = source.directory?.names.get(source.name);
    const target = disk.parentOf(to);
    if (node === undefined || target.directory === undefined) throw failure("ENOENT", from);
    source.directory!.names.delete(source.name);
    target.directory.names.set(target.name, node);
  });
  disk.crashPoint("renamed");
}

interface Handle {
  writeFile(content: string): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export async function open(path: string, flags: string): Promise<Handle> {
  const disk = hostDisk();
  return disk.perform(() => {
    const { directory, name } = disk.parentOf(path);
    if (directory?.level !== undefined && name === LEVEL_FILE) return levelHandle(disk, directory);
    const node = flags === "w" ? createFile(directory, name, path) : disk.find(path);
    if (node === undefined) throw failure("ENOENT", path);
    return handle(disk, node, path);
  });
}

function createFile(directory: DirectoryNode | undefined, name: string, path: string): FileNode {
  if (directory === undefined) throw failure("ENOENT", path);
  const file: FileNode = { kind: "file", content: "", synced: "" };
  directory.names.set(name, file);
  return file;
}

function handle(disk: Disk, node: Node, path: string): Handle {
  return {
    writeFile: (content) =>
      disk.perform(() => {
        if (disk.fault === "full") throw failure("ENOSPC", path);
        if (node.kind === "file") node.content = content;
      }),
    sync: () =>
      disk.perform(() => {
        if (node.kind === "file") node.synced = node.content;
        else node.syncedNames = new Map(node.names);
        disk.crashPoint("file synced");
      }),
    close: async () => {},
  };
}

function levelHandle(disk: Disk, { level }: DirectoryNode): Handle {
  return {
    writeFile: async () => {},
    sync: () => disk.perform(() => level!.sync()),
    close: async () => {},
  };
}

function directoryAt(disk: Disk, path: string): DirectoryNode {
  const node = disk.find(path);
  if (node?.kind !== "directory") throw failure("ENOENT", path);
  return node;
}
