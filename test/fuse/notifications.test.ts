import fs from "node:fs/promises";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { canMount, clean, ok, run, type Server, serve, temporaryDirectory } from "./harness.ts";

const CACHED = { memory: { validMs: 600_000, keepCache: true }, fuse: { busyGraceMs: 300 } };

describe.skipIf(!canMount)("what the kernel is told to drop (needs root and /dev/fuse)", () => {
  const servers: Server[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await clean(server);
  });
  async function mounted(): Promise<Server> {
    const server = await serve(await temporaryDirectory(), CACHED);
    servers.push(server);
    return server;
  }
  const at = (server: Server, name: string) => path.join(server.directory, name);
  const cat = (server: Server, name: string) => ok(["cat", at(server, name)]);
  const size = async (server: Server, name: string) => (await fs.stat(at(server, name))).size;
  async function write(server: Server, name: string, text: string): Promise<number> {
    await ok(["sh", "-c", 'printf %s "$2" > "$1"', "sh", at(server, name), text]);
    return (await fs.stat(at(server, name))).ino;
  }

  test("pages and attributes stay for their time, and go when told", async () => {
    const server = await mounted();
    const inode = await write(server, "f", "first");
    // Twice: a READ leaves the access time to be asked again, and the other attributes with it.
    for (let again = 0; again < 2; again++) expect(await cat(server, "f")).toBe("first");
    await server.order({ order: "poke", inode, text: "second!" });
    expect([await cat(server, "f"), await size(server, "f")]).toEqual(["first", 5]);
    await server.order({ order: "invalidate", inode, content: false });
    expect(await size(server, "f")).toBe(7);
    await server.order({ order: "poke", inode, text: "third.." });
    await server.order({ order: "invalidate", inode, content: true });
    expect(await cat(server, "f")).toBe("third..");
  });

  test("names go when told; what the kernel does not know is no error", async () => {
    const server = await mounted();
    await write(server, "f", "x");
    await write(server, "\u00ff", "x");
    const gone = await serverSideUnlink(server, "f");
    expect(gone).toBe(true);
    await server.order({ order: "invalidateEntry", parent: 1, name: "f" });
    await expect(fs.stat(at(server, "f"))).rejects.toThrow("ENOENT");
    await server.order({ order: "invalidateEntry", parent: 1, name: "never was" });
    await server.order({ order: "invalidateEntry", parent: 999, name: "n" });
    await server.order({ order: "invalidate", inode: 999, content: true });
  });

  /** Takes a name away behind the kernel's back, and makes sure that it does not know. */
  async function serverSideUnlink(server: Server, name: string): Promise<boolean> {
    await server.order({ order: "unlinkBehind", name });
    return (await fs.stat(at(server, name))).isFile();
  }

  test("a drop that waits for an unanswered read holds up nothing but the drops", async () => {
    const server = await mounted();
    const inode = await write(server, "slow-1500", "slow");
    await write(server, "other", "quick");
    await server.order({ order: "invalidate", inode, content: true });
    const reading = run(["cat", at(server, "slow-1500")]);
    await expect.poll(async () => (await server.counts()).reads).toBe(1);
    const started = performance.now();
    const dropping = server.order({ order: "invalidate", inode, content: true });
    const others = Array.from({ length: 200 }, (_, n) =>
      server.order({ order: "invalidateEntry", parent: 1, name: `n${n}` }),
    );
    expect(await cat(server, "other")).toBe("quick");
    expect(performance.now() - started).toBeLessThan(1200);
    expect((await reading).stdout).toBe("slow");
    await Promise.all([dropping, ...others]);
  });

  test("an unmount ends a drop that waits for a read that is never answered", async () => {
    const server = await mounted();
    const inode = await write(server, "never", "x");
    await server.order({ order: "invalidate", inode, content: true });
    const reading = run(["cat", at(server, "never")]);
    await expect.poll(async () => (await server.counts()).reads).toBe(1);
    const dropping = server.order({ order: "invalidate", inode, content: true });
    await server.order({ order: "unmount" });
    await dropping;
    expect((await reading).code).toBe(1);
    await server.exited;
  });

  test("READLINK is asked once: a target never changes", async () => {
    const server = await mounted();
    await ok(["ln", "-s", "target", at(server, "link")]);
    for (let again = 0; again < 3; again++) expect(await ok(["readlink", at(server, "link")])).toBe("target\n");
    expect((await server.counts()).readlinks).toBe(1);
  });
});
