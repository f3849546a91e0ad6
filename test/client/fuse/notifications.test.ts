import fs from "node:fs/promises";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { canMount, clean, ok, run, type Server, serve, startShell, temporaryDirectory } from "./harness.ts";

const CACHED = { memory: { validMs: 600_000, keepCache: true }, fuse: { busyGraceMs: 300 } };

describe.skipIf(!canMount)("invalidation of the kernel's caches (needs root and /dev/fuse)", () => {
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

  test("pages and attributes stay cached while valid, and are dropped when invalidated", async () => {
    const server = await mounted();
    const inode = await write(server, "f", "first");
    // Twice: a READ invalidates the access time, so that all attributes are requested again.
    for (let again = 0; again < 2; again++) expect(await cat(server, "f")).toBe("first");
    await server.order({ order: "poke", inode, text: "second!" });
    expect([await cat(server, "f"), await size(server, "f")]).toEqual(["first", 5]);
    await server.order({ order: "invalidate", inode, content: false });
    expect(await size(server, "f")).toBe(7);
    await server.order({ order: "poke", inode, text: "third.." });
    await server.order({ order: "invalidate", inode, content: true });
    expect(await cat(server, "f")).toBe("third..");
  });

  test("names are dropped when invalidated; to invalidate what the kernel has not cached is no error", async () => {
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

  test("a name that expires is looked up again, and a process whose working directory it is keeps it", async () => {
    const server = await mounted();
    await ok(["mkdir", "-p", at(server, "d/below")]);
    const d = (await fs.stat(at(server, "d"))).ino;
    const shell = startShell(at(server, "d/below"));
    // Names what getcwd(2) would: "(deleted)" where that fails. A program would look names up meanwhile, as pwd(1) does.
    const where = () => shell.ask("readlink /proc/self/cwd");
    try {
      expect(await where()).toBe(at(server, "d/below"));
      const before = (await server.counts()).lookups;
      for (let again = 0; again < 3; again++) {
        await server.order({ order: "expireEntry", parent: 1, name: "d" });
        await server.order({ order: "expireEntry", parent: d, name: "below" });
        expect(await where()).toBe(at(server, "d/below"));
      }
      expect((await server.counts()).lookups).toBe(before);
      await fs.stat(at(server, "d/below"));
      expect((await server.counts()).lookups).toBe(before + 2);
      await fs.stat(at(server, "d/below"));
      expect((await server.counts()).lookups).toBe(before + 2);
      // A drop, as for a name that was removed, takes it.
      await server.order({ order: "invalidateEntry", parent: d, name: "below" });
      expect(await where()).toBe(`${at(server, "d/below")} (deleted)`);
    } finally {
      shell.end();
    }
  });

  test("the kernel forgets inodes that nothing uses when it is asked to, and keeps a working directory (defect 11, needs Linux 6.18)", async ({
    skip,
  }) => {
    const server = await mounted();
    const at = (name: string) => path.join(server.directory, name);
    await ok(["sh", "-c", 'mkdir -p d/below e; for i in $(seq 50); do echo > "e/$i"; done'], { cwd: server.directory });
    const shell = startShell(at("d/below"));
    const open = await fs.open(at("e/1"));
    try {
      expect(await shell.ask("/bin/pwd -P")).toBe(at("d/below"));
      const inodes = [(await fs.stat(at("d"))).ino, (await fs.stat(at("d/below"))).ino, (await fs.stat(at("e"))).ino];
      for (let i = 1; i <= 50; i++) inodes.push((await fs.stat(at(`e/${i}`))).ino);
      const before = await server.counts();
      if ((await server.order({ order: "prune", inodes })) !== true) skip("the kernel has no FUSE_NOTIFY_PRUNE");
      await expect.poll(async () => (await server.counts()).forgotten - before.forgotten).toBeGreaterThanOrEqual(49);
      expect(await shell.ask("/bin/pwd -P")).toBe(at("d/below"));
      const after = await server.counts();
      expect((await open.stat()).size).toBe(1);
      expect((await server.counts()).lookups).toBe(after.lookups);
      expect((await fs.readdir(at("e"))).length).toBe(50);
    } finally {
      await open.close();
      shell.end();
    }
  });

  test("a name that expired and was removed meanwhile is not found", async () => {
    const server = await mounted();
    await write(server, "f", "x");
    expect(await serverSideUnlink(server, "f")).toBe(true);
    await server.order({ order: "expireEntry", parent: 1, name: "f" });
    await expect(fs.stat(at(server, "f"))).rejects.toThrow("ENOENT");
    await server.order({ order: "expireEntry", parent: 1, name: "never was" });
  });

  /** Removes a name without a notification. Answers whether the kernel still finds it in its cache. */
  async function serverSideUnlink(server: Server, name: string): Promise<boolean> {
    await server.order({ order: "unlinkBehind", name });
    return (await fs.stat(at(server, name))).isFile();
  }

  async function readerOf(server: Server, name: string) {
    const inode = await write(server, name, "slow");
    await server.order({ order: "invalidate", inode, content: true });
    const reading = run(["cat", at(server, name)]);
    await expect.poll(async () => (await server.counts()).reads).toBe(1);
    return { inode, reading };
  }

  test("an invalidation waits for a READ in flight, and other invalidations do not wait for it", async () => {
    const server = await mounted();
    await write(server, "other", "quick");
    const { inode, reading } = await readerOf(server, "slow-1500");
    let dropped = false;
    const dropping = server.order({ order: "invalidate", inode, content: true }).then(() => {
      dropped = true;
    });
    await server.order({ order: "invalidate", inode, content: false });
    await Promise.all(
      Array.from({ length: 200 }, (_, n) => server.order({ order: "invalidateEntry", parent: 1, name: `n${n}` })),
    );
    expect(dropped).toBe(false);
    expect(await reading).toMatchObject({ code: 0, stdout: "slow" });
    await dropping;
    expect(await cat(server, "slow-1500")).toBe("slow");
    expect((await server.counts()).reads).toBe(2);
  });

  test("requests are answered while the kernel blocks the thread that notifies it", async () => {
    const server = await mounted();
    await write(server, "other", "quick");
    const { inode, reading } = await readerOf(server, "slow-1500");
    let dropped = false;
    const dropping = server.order({ order: "invalidateRegardless", inode }).then(() => {
      dropped = true;
    });
    expect(await cat(server, "other")).toBe("quick");
    expect(dropped).toBe(false);
    expect(await reading).toMatchObject({ code: 0, stdout: "slow" });
    await dropping;
  });

  test.each(["invalidate", "invalidateRegardless"] as const)(
    "an unmount ends an invalidation that waits for a READ without an answer (%s)",
    async (order) => {
      const server = await mounted();
      const { inode, reading } = await readerOf(server, "never");
      const dropping = server.order({ order, inode, content: true });
      await server.order({ order: "unmount" });
      await dropping;
      expect((await reading).code).toBe(1);
      await server.exited;
    },
  );

  test("kill -9 while an invalidation waits for a READ: the mount fails, it does not hang", async () => {
    const server = await mounted();
    const { inode, reading } = await readerOf(server, "never");
    server.order({ order: "invalidate", inode, content: true });
    await server.order({ order: "invalidateEntry", parent: 1, name: "n" });
    server.kill("SIGKILL");
    await server.exited;
    expect((await reading).stderr).toMatch(/not connected|abort/);
    await expect(fs.statfs(server.directory)).rejects.toThrow("ENOTCONN");
  });

  test("READLINK is sent once: a target never changes", async () => {
    const server = await mounted();
    await ok(["ln", "-s", "target", at(server, "link")]);
    for (let again = 0; again < 3; again++) expect(await ok(["readlink", at(server, "link")])).toBe("target\n");
    expect((await server.counts()).readlinks).toBe(1);
  });
});
