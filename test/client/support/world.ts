import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Logger, pino } from "pino";
import type { WriteOptions } from "../../../client/volume/handlers.ts";
import { openVolume, type VolumeAccess } from "../../../client/volume/open-volume.ts";
import { parseMountOptions, type WrittenMountOptions } from "../../../client/volume/options.ts";
import type { VolumeDescription } from "../../../config/volume-description.ts";
import type { ByteString, Inode } from "../../../core/ids.ts";
import { runMetaServer } from "../../../meta-server/main.ts";
import { choosePort } from "../../../sandbox/ports.ts";
import type { WanProxy } from "../../../sandbox/wan-proxy.ts";
import { type WanLink, wanLink } from "../../support/wan-link.ts";
import { describeVolume } from "./volume.ts";

const logger = pino({ level: process.env.MIRRORFS_TEST_LOG ?? "silent" }, pino.destination(2));

/** Metadata servers and file: buckets of some regions in this process, and file systems on them without a kernel. */
export class World {
  readonly dir: string;
  readonly volume: VolumeDescription;
  readonly #servers = new Map<string, { stop(): Promise<void> }>();
  readonly #links = new Map<string, WanLink>();
  readonly #accesses: VolumeAccess[] = [];

  private constructor(dir: string, volume: VolumeDescription) {
    this.dir = dir;
    this.volume = volume;
  }

  /** @param linked regions whose servers reach the others through a link that the test can cut: `link` */
  static async start(regions: readonly string[] = ["aws"], linked: readonly string[] = []): Promise<World> {
    const dir = mkdtempSync(join(tmpdir(), "mirrorfs-client-"));
    const ports: Record<string, number[]> = {};
    for (const region of regions) ports[region] = [await choosePort()];
    const world = new World(dir, describeVolume(dir, ports));
    for (const region of linked) world.#links.set(region, await wanLink(world.volume, region));
    for (const region of regions) await world.startServer(region);
    return world;
  }

  async startServer(region: string): Promise<void> {
    const dataDir = join(this.dir, `meta-${region}`);
    const onFatal = (error: Error) => logger.fatal(error);
    const volume = this.#links.get(region)?.view ?? this.volume;
    const server = await runMetaServer({ volume, region, member: 1, dataDir, logger, onFatal });
    this.#servers.set(region, server);
  }

  /** The link from the region's servers to the other regions. */
  link(region: string): WanProxy {
    return this.#links.get(region)!.link;
  }

  async stopServer(region: string): Promise<void> {
    await this.#servers.get(region)?.stop();
    this.#servers.delete(region);
  }

  /** A file system as a mount of `region` would have it. */
  async open(region = "aws", options: WrittenMountOptions = {}, log: Logger = logger): Promise<Disk> {
    const access = await openVolume({ volume: this.volume, region, options: parseMountOptions(options), logger: log });
    this.#accesses.push(access);
    return new Disk(access);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#accesses.map((access) => access.close()));
    for (const region of [...this.#servers.keys()]) await this.stopServer(region);
    for (const { link } of this.#links.values()) await link.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const ROOT = 1 as Inode;

let threads = 0;

/** The caller of a request: a new thread, unless the test continues a system call of `pid`. */
export function caller(pid = ++threads) {
  return { uid: 0, gid: 0, pid, signal: new AbortController().signal };
}

/** The system calls of a program, by path. A failure throws an Error with the name of the errno. */
export class Disk {
  readonly access: VolumeAccess;

  constructor(access: VolumeAccess) {
    this.access = access;
  }

  get handlers() {
    return this.access.handlers;
  }

  async lookup(path: string, thread?: number): Promise<Inode> {
    let inode: Inode = ROOT;
    for (const name of path.split("/").filter((part) => part !== "")) {
      const entry = ok(await this.handlers.lookup(caller(thread), inode, name as ByteString));
      inode = entry.attributes.inode;
    }
    return inode;
  }

  async stat(path: string) {
    return ok(await this.handlers.getattr(caller(), await this.lookup(path), undefined)).attributes;
  }

  async mkdir(path: string): Promise<Inode> {
    const { parent, name } = await this.#split(path);
    const what = { kind: "directory", mode: 0o755, umask: 0, device: 0, target: "" as ByteString } as const;
    return ok(await this.handlers.make(caller(), parent, name, what)).attributes.inode;
  }

  /** After ESTALE the kernel looks up all names again and opens once more, in the same open(2). */
  async open(path: string, flags: number): Promise<File> {
    const thread = ++threads;
    return this.#openOnce(path, flags, thread).catch((error: Error) => {
      if (error.message !== "ESTALE") throw error;
      return this.#openOnce(path, flags, thread);
    });
  }

  /** A name that the kernel finds is opened; O_CREAT makes one that it does not find. */
  async #openOnce(path: string, flags: number, thread: number): Promise<File> {
    const inode = await this.lookup(path, thread).catch((error: Error) => {
      if (error.message !== "ENOENT" || !(flags & O_CREAT)) throw error;
    });
    if (inode === undefined) return this.create(path, flags, thread);
    if (flags & O_CREAT && flags & O_EXCL) throw new Error("EEXIST");
    return this.openInode(inode, flags & ~O_CREAT, thread);
  }

  /** What the kernel sends for O_CREAT when it has not found the name. */
  async create(path: string, flags: number, thread?: number): Promise<File> {
    const { parent, name } = await this.#split(path);
    const made = ok(await this.handlers.create(caller(thread), parent, name, 0o644, 0, flags & ~O_CREAT));
    return new File(this, made.entry.attributes.inode, made.open.handle);
  }

  /** Opens by the inode alone, as the kernel does for a path whose entries it has cached. */
  async openInode(inode: Inode, flags: number, thread?: number, killPrivileges = false): Promise<File> {
    const opened = ok(await this.handlers.open(caller(thread), inode, flags, killPrivileges));
    return new File(this, inode, opened.handle);
  }

  async write(path: string, data: string | Uint8Array, offset = 0): Promise<void> {
    const file = await this.open(path, O_CREAT | O_WRONLY);
    await file.write(data, offset);
    await file.close();
  }

  async read(path: string): Promise<Buffer> {
    const file = await this.open(path, O_RDONLY);
    try {
      return await file.read(0, 64 * 1024 * 1024);
    } finally {
      await file.close();
    }
  }

  async list(path: string): Promise<string[]> {
    const inode = await this.lookup(path);
    const { handle } = ok(await this.handlers.opendir(caller(), inode));
    const names: string[] = [];
    for (let offset = 0; ; ) {
      const entries = ok(await this.handlers.readdir(caller(), inode, handle, offset, true));
      if (entries.length === 0) break;
      for (const entry of entries) if (entry.name !== "." && entry.name !== "..") names.push(entry.name);
      offset = entries.at(-1)!.nextOffset;
    }
    await this.handlers.releasedir(caller(), inode, handle);
    return names;
  }

  async unlink(path: string): Promise<void> {
    const { parent, name } = await this.#split(path);
    ok(await this.handlers.unlink(caller(), parent, name));
  }

  async rename(path: string, to: string): Promise<void> {
    const from = await this.#split(path);
    const target = await this.#split(to);
    ok(await this.handlers.rename(caller(), from.parent, from.name, target.parent, target.name, "replace"));
  }

  async #split(path: string): Promise<{ parent: Inode; name: ByteString }> {
    const slash = path.lastIndexOf("/");
    return { parent: await this.lookup(path.slice(0, Math.max(0, slash))), name: path.slice(slash + 1) as ByteString };
  }
}

export class File {
  readonly disk: Disk;
  readonly inode: Inode;
  readonly handle: number;

  constructor(disk: Disk, inode: Inode, handle: number) {
    this.disk = disk;
    this.inode = inode;
    this.handle = handle;
  }

  async write(data: string | Uint8Array, offset = 0, options: Partial<WriteOptions> = {}): Promise<void> {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    const direct = options.durable === true;
    const how = { killPrivileges: false, writeback: false, direct, durable: false, ...options };
    ok(await this.disk.handlers.write(caller(), this.inode, this.handle, offset, bytes, how));
  }

  async read(offset: number, length: number, direct = false): Promise<Buffer> {
    const data = ok(await this.disk.handlers.read(caller(), this.inode, this.handle, offset, length, direct));
    return data instanceof Uint8Array ? Buffer.from(data) : Buffer.concat(data);
  }

  async truncate(size: number): Promise<void> {
    ok(await this.disk.handlers.setattr(caller(), this.inode, { size, handle: this.handle }));
  }

  async fsync(): Promise<void> {
    ok(await this.disk.handlers.fsync(caller(), this.inode, this.handle, false));
  }

  async close(): Promise<void> {
    const flushed = await this.disk.handlers.flush(caller(), this.inode, this.handle, "owner");
    await this.disk.handlers.release(caller(), this.inode, this.handle, undefined);
    ok(flushed);
  }
}

export function ok<T>(result: T | string): T {
  if (typeof result === "string") throw new Error(result);
  return result;
}
