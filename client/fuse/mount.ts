import { closeSync } from "node:fs";
import fs from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { type MountEntry, mountEntryAt } from "../../base/mount-table.ts";
import { UserError } from "../../base/user-error.ts";
import type { Handlers, KernelCaches } from "../volume/handlers.ts";
import { Device, type Engine, openDevice } from "./device.ts";
import { FuseConnection } from "./fuse-connection.ts";
import { detachAtExit, prepareMountPoint, run, umount } from "./mount-point.ts";
import { Notifier } from "./notifier.ts";
import { PRUNE_MINOR } from "./protocol.ts";
import { ReadBuffers } from "./read-buffers.ts";

const MIB = 1024 * 1024;
/** struct fuse_in_header, struct fuse_write_in, and extensions that a later kernel may add. */
const REQUEST_HEADER_ROOM_BYTES = 8 * 1024;
const READY_TIMEOUT_MS = 20_000;

export interface FuseOptions {
  /** Other users may access the mount; the kernel checks permissions (default_permissions). Default true. */
  readonly allowOther?: boolean;
  readonly readOnly?: boolean;
  /** Options of mount(8) that the kernel carries out, without values. */
  readonly kernelFlags?: readonly string[];
  /** The subtype that mount(8) and df show: `fuse.NAME`. Default "mirrorfs". */
  readonly name?: string;
  /** How far the kernel reads ahead, KiB. Default 1024. */
  readonly readAheadKb?: number;
  /** The largest READ and WRITE, bytes; a multiple of 4096 up to 1 MiB, the default. */
  readonly maxWriteBytes?: number;
  /** How long the kernel may cache that a name does not exist (a negative entry), ms. Default 0: not at all. */
  readonly negativeEntryValidMs?: number;
  /**
   * A request that is not answered by then gets ETIMEDOUT, ms. Longer than any wait of the handlers. Default 120,000.
   */
  readonly requestDeadlineMs?: number;
  /** How long `unmount` waits for open files after the lazy unmount, ms; then they get EIO. Default 5,000. */
  readonly busyGraceMs?: number;
  readonly engine?: Engine;
}

export interface FuseMount {
  readonly caches: KernelCaches;
  /** The number of the mount's device, as in the mount table; undefined when it was unmounted at once. */
  readonly device: string | undefined;
  /**
   * Unmounts, lazily when the mount is busy (umount2(2), MNT_DETACH). Resolves when everything is closed. Never
   * rejects.
   */
  unmount(): Promise<void>;
  /** Resolves when the file system is unmounted, by this process or another, and everything is closed. */
  readonly ended: Promise<void>;
}

/**
 * Mounts at an empty directory and serves it from this process, which must never access the mount synchronously.
 * Resolves once the protocol is negotiated.
 * @throws UserError for what a user can fix.
 */
export async function mountFuse(what: {
  mountPoint: string;
  /** What mount(8) and df show as the device. */
  source: string;
  handlers: Handlers;
  options?: FuseOptions;
  logger: Logger;
}): Promise<FuseMount> {
  const { source, handlers, options = {}, logger } = what;
  requireRoot();
  const mountPoint = await prepareMountPoint(what.mountPoint);
  const fd = openDevice();
  const writeBytesMax = options.maxWriteBytes ?? MIB;
  const mountFailure = await attach(fd, { mountPoint, source, options, readBytesMax: writeBytesMax });
  if (mountFailure !== undefined) {
    closeSync(fd);
    throw mountFailure;
  }
  const entry = mountEntryAt(mountPoint);
  // Also when the process exits in the middle of its start or its end.
  const atExit = () => detachAtExit(mountPoint, entry);
  process.on("exit", atExit);

  const buffers = new ReadBuffers(writeBytesMax + REQUEST_HEADER_ROOM_BYTES);
  const connection = new FuseConnection({
    handlers,
    logger,
    buffers,
    send: (reply) => device.send(reply),
    writeBytesMax,
    requestDeadlineMs: options.requestDeadlineMs ?? 120_000,
    negativeEntryValidMs: options.negativeEntryValidMs ?? 0,
  });
  const device = new Device(fd, {
    buffers,
    receive: (buffer, bytes) => connection.receive(buffer, bytes),
    engine: options.engine ?? "loop",
  });
  const caches = new Notifier(fd, (inode, held) => connection.released(inode, held), logger);
  const ended = closeAtEnd({ device, connection, caches, logger }).then(() => {
    process.off("exit", atExit);
  });
  const unmount = () => detach({ mountPoint, entry, device, ended, logger, busyGraceMs: options.busyGraceMs ?? 5_000 });

  const ready = await Promise.race([
    connection.ready,
    ended.then(() => "ended"),
    sleep(READY_TIMEOUT_MS, "silent", { ref: false }),
  ]);
  if (ready !== undefined) {
    await unmount();
    throw new UserError(`${mountPoint}: the kernel sent no FUSE_INIT (${ready}); see dmesg`);
  }
  caches.canPrune = connection.minor >= PRUNE_MINOR;
  await raiseReadAhead(entry, options.readAheadKb ?? 1024, logger);
  let unmounting: Promise<void> | undefined;
  return {
    caches,
    device: entry?.device,
    ended,
    unmount() {
      unmounting ??= unmount();
      return unmounting;
    },
  };
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new UserError("mounting needs root: run it with sudo, or through fstab or systemd");
}

/** Runs mount(8) with the device as descriptor 3. Answers the error if it failed. */
async function attach(
  fd: number,
  {
    mountPoint,
    source,
    options,
    readBytesMax,
  }: { mountPoint: string; source: string; options: FuseOptions; readBytesMax: number },
): Promise<UserError | undefined> {
  const flags = [
    ...["fd=3", "rootmode=40000", "user_id=0", "group_id=0", "default_permissions", `max_read=${readBytesMax}`],
    ...((options.allowOther ?? true) ? ["allow_other"] : []),
    ...(options.readOnly ? ["ro"] : []),
    ...(options.kernelFlags ?? []),
  ];
  const args = ["-i", "-t", `fuse.${options.name ?? "mirrorfs"}`, "-o", flags.join(","), source, mountPoint];
  const { code, output } = await run("mount", args, { fd });
  if (code === 0) return undefined;
  const remedy = /permission denied|not permitted/i.test(output) ? " (in a container: --cap-add SYS_ADMIN)" : "";
  return new UserError(`cannot mount ${mountPoint}: ${output.split("\n")[0] || `mount exited with ${code}`}${remedy}`);
}

/** The kernel's default is 128 KiB; reads over a network need more in flight. */
async function raiseReadAhead(entry: MountEntry | undefined, readAheadKb: number, logger: Logger): Promise<void> {
  try {
    await fs.writeFile(`/sys/class/bdi/${entry?.device}/read_ahead_kb`, String(readAheadKb));
  } catch (error) {
    logger.warn({ err: error }, "the kernel's readahead could not be set, and stays at its default");
  }
}

/** Closes everything once the connection has ended, in the order that the descriptor requires. */
async function closeAtEnd(parts: {
  device: Device;
  connection: FuseConnection;
  caches: Notifier;
  logger: Logger;
}): Promise<void> {
  const { device, connection, caches, logger } = parts;
  const error = await device.ended;
  if (error !== undefined) logger.error({ err: error }, "the connection to the kernel broke");
  connection.drain(); // 1. Every request is answered, also those that still arrive,
  await caches.stop(); // 2. so that no notification is blocked in the kernel,
  device.close(); // 3. and nothing writes to the descriptor when it is closed.
  connection.end();
}

async function detach(what: {
  mountPoint: string;
  entry: MountEntry | undefined;
  device: Device;
  ended: Promise<void>;
  logger: Logger;
  busyGraceMs: number;
}): Promise<void> {
  const { mountPoint, entry, device, ended, logger, busyGraceMs } = what;
  // Only our own: it may have been unmounted already, and another mounted in its place.
  if (mountEntryAt(mountPoint)?.device === entry?.device) {
    const unmounted = await umount(mountPoint);
    if (unmounted.code !== 0) {
      logger.warn(
        { mountPoint, busyGraceMs, umount: unmounted.output },
        "unmounted lazily: files still open soon get EIO",
      );
      // Reads of the thread pool wait in the kernel until the connection is aborted.
      if (device.engine === "pool") await umount(mountPoint, ["--force"]);
      await umount(mountPoint, ["--lazy"]);
    }
  }
  const over = await Promise.race([ended.then(() => true), sleep(busyGraceMs, false, { ref: false })]);
  if (!over) device.stop();
  await ended;
}
