import fs from "node:fs";
import { pino } from "pino";
import { UserError } from "../../../base/user-error.ts";
import { type FuseOptions, mountFuse } from "../../../client/fuse/mount.ts";
import { Notifier } from "../../../client/fuse/notifier.ts";
import { type ByteString, type Inode, ROOT_INODE } from "../../../core/ids.ts";
import { MemoryHandlers, type MemoryOptions } from "./memory/handlers.ts";

/**
 * A process that serves a mount of the file system in memory: `node server.ts DIR OPTIONS-JSON`, controlled over IPC.
 * A process must never use a mount that it serves.
 */
export interface ServerOptions {
  readonly fuse?: FuseOptions;
  readonly memory?: MemoryOptions;
}
export type Order =
  | { readonly order: "invalidate"; readonly inode: number; readonly content: boolean }
  | { readonly order: "invalidateRegardless"; readonly inode: number }
  | { readonly order: "invalidateEntry"; readonly parent: number; readonly name: string }
  | { readonly order: "expireEntry"; readonly parent: number; readonly name: string }
  | { readonly order: "prune"; readonly inodes: readonly number[] }
  | { readonly order: "poke"; readonly inode: number; readonly text: string }
  | { readonly order: "unlinkBehind"; readonly name: string }
  | { readonly order: "counts" }
  | { readonly order: "fallAsleep" }
  | { readonly order: "exit" }
  | { readonly order: "unmount" };

const [mountPoint = "", optionsJson = "{}"] = process.argv.slice(2);
const { fuse, memory = {} } = JSON.parse(optionsJson) as ServerOptions;
const handlers = new MemoryHandlers(memory);
const logger = pino({ level: process.env.LOG_LEVEL ?? "warn" }, pino.destination(2));

/** A notifier that does not wait for requests first: as if the request arrived just after the check. */
let regardless: Notifier | undefined;

function deviceDescriptor(): number {
  const links = fs.readdirSync("/proc/self/fd").filter((fd) => {
    return fs.existsSync(`/proc/self/fd/${fd}`) && fs.readlinkSync(`/proc/self/fd/${fd}`) === "/dev/fuse";
  });
  return Number(links[0]);
}

function report(message: object): void {
  // The test may have ended already, and the channel with it.
  if (process.connected) process.send?.(message);
}

try {
  const mount = await mountFuse({ mountPoint, source: "memory", handlers, options: fuse, logger });
  process.on("message", async ({ id, ...order }: Order & { id: number }) => {
    report({ id, result: await obey(order as Order) });
  });
  process.on("SIGTERM", () => mount.unmount());
  report({ ready: true });
  console.log("ready");
  await mount.ended;
  await regardless?.stop();
  report({ ended: handlers.counts });
  process.disconnect?.();

  async function obey(order: Order): Promise<unknown> {
    switch (order.order) {
      case "invalidate":
        return mount.caches.invalidateInode(order.inode as Inode, order.content);
      case "invalidateRegardless":
        regardless ??= new Notifier(deviceDescriptor(), () => undefined, logger);
        return regardless.invalidateInode(order.inode as Inode, true);
      case "invalidateEntry":
        return mount.caches.invalidateEntry(order.parent as Inode, order.name as ByteString);
      case "expireEntry":
        return mount.caches.expireEntry(order.parent as Inode, order.name as ByteString);
      case "prune":
        await mount.caches.prune(order.inodes as readonly Inode[]);
        return mount.caches.canPrune;
      case "poke": {
        // A change without a notification, as if made by another machine.
        const node = handlers.nodes.get(order.inode as Inode)!;
        node.data = Buffer.from(order.text);
        node.size = node.data.length;
        return undefined;
      }
      case "unlinkBehind":
        return handlers.nodes.get(ROOT_INODE)!.children.delete(order.name as ByteString);
      case "counts":
        return handlers.counts;
      case "fallAsleep":
        handlers.options.delayMs = 80_000;
        return undefined;
      case "exit":
        return process.exit(3);
      case "unmount":
        return mount.unmount();
    }
  }
} catch (error) {
  report({ failed: error instanceof UserError ? `UserError: ${error.message}` : String(error) });
  if (!(error instanceof UserError)) console.error(error);
  process.exitCode = 1;
  process.disconnect?.();
}
