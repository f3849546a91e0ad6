import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { canMount, clean, ok, run, type Server, serve, temporaryDirectory } from "./harness.ts";
import type { ServerOptions } from "./server.ts";

describe.skipIf(!canMount)("mounting and unmounting (needs root and /dev/fuse)", () => {
  const servers: Server[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await clean(server);
  });
  async function mounted(options: ServerOptions = {}, directory?: string): Promise<Server> {
    const server = await serve(directory ?? (await temporaryDirectory()), options);
    servers.push(server);
    return server;
  }
  const isMounted = async (directory: string) => (await fs.readFile("/proc/self/mounts", "utf8")).includes(directory);

  test("a mount point that cannot be used is refused with one line that names the remedy", async () => {
    const directory = await temporaryDirectory();
    const refusal = async (mountPoint: string) => (await serve(mountPoint)).last.failed;
    expect(await refusal(path.join(directory, "none"))).toMatch(
      /^UserError: mount point .*none does not exist: .*mkdir/,
    );
    await fs.writeFile(path.join(directory, "file"), "");
    expect(await refusal(path.join(directory, "file"))).toMatch(/^UserError: .*file is not a directory$/);
    expect(await refusal(directory)).toMatch(/^UserError: .* is not empty/);
    await fs.rm(directory, { recursive: true });
    const server = await mounted();
    expect(await refusal(server.directory)).toMatch(/^UserError: .* is mounted already: .*umount/);
    expect(await isMounted(server.directory)).toBe(true);
  });

  test("a mount point with spaces, given through a symlink, is unmounted again", async () => {
    const directory = await temporaryDirectory();
    await fs.mkdir(path.join(directory, "a b"));
    await fs.symlink("a b", path.join(directory, "link"));
    const server = await mounted({}, path.join(directory, "link"));
    expect(await ok(["stat", "-fc", "%T", path.join(directory, "a b")])).toMatch(/^fuse/);
    server.kill("SIGTERM");
    await server.exited;
    servers.pop();
    expect(server.last.ended?.destroyed).toBe(1);
    await fs.rm(directory, { recursive: true });
  });

  test("readahead is set as requested", async () => {
    const server = await mounted({ fuse: { readAheadKb: 2048 } });
    const device = (await ok(["mountpoint", "-d", server.directory])).trim();
    expect((await fs.readFile(`/sys/class/bdi/${device}/read_ahead_kb`, "utf8")).trim()).toBe("2048");
  });

  test.each(["loop", "pool"] as const)("umount by another process ends the server (%s)", async (engine) => {
    const server = await mounted({ fuse: { engine } });
    await ok(["sh", "-c", 'echo x > "$1/f"; cat "$1/f"', "sh", server.directory]);
    await ok(["umount", server.directory]);
    await server.exited;
    expect(server.last.ended).toMatchObject({ destroyed: 1, opens: 2, releases: 2 });
  });

  test.each(["loop", "pool"] as const)(
    "a busy mount is detached; a program that still has a file open gets EIO (%s)",
    async (engine) => {
      const server = await mounted({ fuse: { engine, busyGraceMs: 300 } });
      await ok(["sh", "-c", 'echo x > "$1/f"', "sh", server.directory]);
      const script = 'exec 3< "$1/f"; echo open; read line; cat <&3 2>&1; echo "exit $?"';
      const holder = spawn("timeout", ["30", "sh", "-c", script, "sh", server.directory]);
      let said = "";
      holder.stdout.on("data", (data) => {
        said += data;
      });
      await expect.poll(() => said).toBe("open\n");
      server.kill("SIGTERM");
      await server.exited;
      expect(await isMounted(server.directory)).toBe(false);
      holder.stdin.end("\n");
      await new Promise((resolve) => holder.on("close", resolve));
      expect(said).toMatch(/(Input\/output error|Transport endpoint|connection abort).*exit 1/s);
    },
  );

  test("an unmount sends no request to the mount: the servers that would have to answer may be gone", async () => {
    const server = await mounted();
    await server.order({ order: "fallAsleep" });
    const startMs = performance.now();
    server.kill("SIGTERM");
    await server.exited;
    expect(performance.now() - startMs).toBeLessThan(4_000);
    expect(await isMounted(server.directory)).toBe(false);
  });

  test("mirrorfs umount does not wait for a mount whose servers are gone", async () => {
    const server = await mounted();
    await server.order({ order: "fallAsleep" });
    const program = path.resolve(import.meta.dirname, "../../../bin/mirrorfs");
    await ok([program, "umount", server.directory], { seconds: 10 });
    expect(await isMounted(server.directory)).toBe(false);
    await server.exited;
  });

  test("nosuid, nodev and the like reach the kernel, and are in the mount table (defect 31)", async () => {
    const kernelFlags = ["nosuid", "nodev", "noexec", "noatime"] as const;
    const server = await mounted({ fuse: { kernelFlags } });
    const lines = (await fs.readFile("/proc/self/mountinfo", "utf8")).split("\n");
    const options = lines
      .find((line) => line.includes(server.directory))!
      .split(" ")[5]!
      .split(",");
    expect(options).toEqual(expect.arrayContaining([...kernelFlags]));
  });

  test.each(["loop", "pool"] as const)(
    "a process that exits takes its mount along, whatever it was doing (%s)",
    async (engine) => {
      const server = await mounted({ fuse: { engine }, memory: { directIo: true } });
      await ok(["sh", "-c", 'echo x > "$1/never"', "sh", server.directory]);
      const reader = run(["cat", path.join(server.directory, "never")]);
      await expect.poll(async () => (await server.counts()).reads).toBe(1);
      await server.order({ order: "exit" });
      expect(await isMounted(server.directory)).toBe(false);
      expect((await reader).code).toBe(1);
    },
  );

  test.each(["loop", "pool"] as const)(
    "kill -9 of the server: ENOTCONN, and the next mount cleans up (%s)",
    async (engine) => {
      const directory = await temporaryDirectory();
      const dead = await serve(directory, { fuse: { engine }, memory: { validMs: 600_000 } });
      await ok(["sh", "-c", 'head -c 3000000 /dev/zero > "$1/never"', "sh", directory]);
      const reader = run(["cat", path.join(directory, "never")]);
      await expect.poll(async () => (await dead.counts()).reads).toBeGreaterThan(0);
      dead.kill("SIGKILL");
      await dead.exited;
      expect((await reader).code).toBe(1);
      await expect(fs.statfs(directory)).rejects.toThrow("ENOTCONN");
      const server = await mounted({}, directory);
      expect(server.last.failed).toBeUndefined();
      expect(await ok(["ls", "-A", directory])).toBe("");
      const lines = (await fs.readFile("/proc/self/mounts", "utf8")).split("\n");
      expect(lines.filter((line) => line.includes(directory))).toHaveLength(1);
    },
  );
});

describe.skipIf(!canMount)("pending requests on a mount (needs root and /dev/fuse)", () => {
  const servers: Server[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await clean(server);
  });
  async function mounted(options: ServerOptions = {}): Promise<Server> {
    const server = await serve(await temporaryDirectory(), { fuse: { busyGraceMs: 300, ...options.fuse }, ...options });
    servers.push(server);
    return server;
  }
  const write = (server: Server, name: string, text = "x") =>
    ok(["sh", "-c", 'printf %s "$2" > "$1"', "sh", path.join(server.directory, name), text]);
  const timed = async <T>(work: Promise<T>) => {
    const start = performance.now();
    return { value: await work, ms: performance.now() - start };
  };

  test("a process that is killed in read(2) ends at once, and the handler is aborted", async () => {
    const server = await mounted({ memory: { directIo: true } });
    await write(server, "never");
    const reading = run(["cat", path.join(server.directory, "never")], {
      onStart: async (child) => {
        await expect.poll(async () => (await server.counts()).reads).toBe(1);
        child.kill("SIGTERM"); // timeout(1) forwards it
      },
    });
    const { ms } = await timed(reading);
    expect(ms).toBeLessThan(20_000);
    expect((await server.counts()).aborted).toBe(1);
  });

  test("a signal that the program catches does not make its system call fail", async () => {
    const server = await mounted({ memory: { directIo: true } });
    await write(server, "slow-1500", "slow");
    // An alarm every 100 ms. libc's open and read are called directly, because Python's own retry after EINTR.
    const program = `
import ctypes, signal, sys
libc = ctypes.CDLL(None, use_errno=True); hits = []
signal.signal(signal.SIGALRM, lambda *a: hits.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
fd = libc.open(b"slow-1500", 0); buf = ctypes.create_string_buffer(10)
n = libc.read(fd, buf, 10); e = ctypes.get_errno() if n < 0 else 0
print(fd >= 0, n, e)`;
    expect(await ok(["python3", "-c", program], { cwd: server.directory })).toBe("True 4 0\n");
    const ran = await run(["timeout", "-s", "KILL", "0.5", "python3", "-c", program], { cwd: server.directory });
    expect(ran.stdout).toBe("");
  });

  test("a request that no handler answers ends at its deadline", async () => {
    const server = await mounted({ fuse: { requestDeadlineMs: 600, busyGraceMs: 300 }, memory: { directIo: true } });
    await write(server, "never");
    const { value, ms } = await timed(run(["cat", path.join(server.directory, "never")]));
    expect(value.stderr).toContain("Connection timed out");
    expect(ms).toBeGreaterThan(550);
    expect(await ok(["ls", server.directory])).toBe("never\n");
  });

  test("an unmount answers the requests that no handler answers, so that nothing hangs", async () => {
    const server = await mounted();
    await write(server, "never");
    const reading = run(["cat", path.join(server.directory, "never")]);
    await expect.poll(async () => (await server.counts()).reads).toBe(1);
    await server.order({ order: "unmount" });
    expect((await reading).code).toBe(1);
    await server.exited;
  });
});
