import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../support/until.ts";
import { run, stageRealTree, Up } from "./cloud.ts";

describe("mirrorfs up --wan-ms 5", () => {
  let up: Up;
  let scratch: string;
  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "mirrorfs-e2e-scratch-"));
    up = await Up.start("--wan-ms", "5");
  }, 120_000);
  afterAll(async () => {
    await up?.end();
    rmSync(scratch, { recursive: true, force: true });
  }, 60_000);

  it("a tree of a thousand real files, copied with cp -a into one mount, is identical in the other immediately", async () => {
    const source = join(scratch, "real");
    const files = await stageRealTree(source);
    expect(files).toBeGreaterThan(1_000);
    const copied = await run("cp", ["-a", source, up.mount("aws", "tree")], { timeoutMs: 240_000 });
    expect(copied).toEqual({ code: 0, stdout: "", stderr: "" });
    const compare = ["-r", "--no-dereference", source, up.mount("gcp", "tree")];
    expect(await run("diff", compare, { timeoutMs: 240_000 })).toEqual({ code: 0, stdout: "", stderr: "" });
  }, 500_000);

  it.each(["aws", "gcp"] as const)(
    "git clone into mnt/%s passes git fsck and has a clean work tree",
    async (region) => {
      const repository = join(scratch, `repository-${region}`);
      await makeRepository(repository);
      const clone = up.mount(region, `clone-in-${region}`);
      const patient = { timeoutMs: 150_000 };
      expect(await run("git", ["clone", "--quiet", repository, clone], patient)).toEqual({
        code: 0,
        stdout: "",
        stderr: "",
      });
      expect(await run("git", ["-C", clone, "fsck", "--full", "--strict"], patient)).toMatchObject({ code: 0 });
      expect(await run("git", ["-C", clone, "status", "--porcelain"], patient)).toMatchObject({ code: 0, stdout: "" });
    },
    380_000,
  );

  it("status --json has the documented fields", async () => {
    const status = await up.status();
    expect(status).toMatchObject({ volume: "sandbox", epoch: 1, primary: "aws" });
    for (const [region, role] of [
      ["aws", "primary"],
      ["gcp", "mirror"],
    ] as const) {
      expect(status.regions[region]).toEqual({
        role,
        reachable: true,
        leader: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        members: expect.any(Array),
        epoch: 1,
        sequence: expect.any(Number),
        stateHash: expect.stringMatching(/^[0-9a-f]{16}$/),
        lag: { commands: expect.any(Number), ms: expect.any(Number) },
        blocks: {
          pending: expect.any(Number),
          pendingBytes: expect.any(Number),
          oldestPendingMs: expect.any(Number),
          copied: expect.any(Number),
          failed: 0,
        },
        message: expect.any(String),
      });
    }
    expect(status.regions.aws!.members).toHaveLength(3);
  });

  it("wait returns once a file's blocks are in the other region, as info confirms", async () => {
    writeFileSync(join(scratch, "block"), Buffer.alloc(6_000_000, "mirror"));
    expect((await run("cp", [join(scratch, "block"), up.mount("aws", "block")])).code).toBe(0);
    expect(await up.mirrorfs("wait", "/block", "--region", "gcp", "--timeout", "30")).toMatchObject({ code: 0 });
    const info = JSON.parse((await up.mirrorfs("info", up.mount("gcp", "block"), "--json")).stdout);
    expect(info).toMatchObject({ path: "/block", kind: "file", size: 6_000_000 });
    expect(info.regions.gcp.residentSlices).toBe(info.regions.gcp.slices);
    expect(info.regions.gcp.slices).toBeGreaterThan(0);
  }, 60_000);

  it("only its user may read what it leaves on the disk; modes inside a mount are the caller's (defect 26)", async () => {
    const [written, read] = [up.mount("aws", "readable"), up.mount("gcp", "readable")];
    expect(await run("sh", ["-c", `umask 022; head -c 100000 /dev/urandom > ${written}; cat ${read}`])).toMatchObject({
      code: 0,
    });
    expect(statSync(read).mode & 0o777).toBe(0o644);
    const places = readdirSync(up.dir).filter((name) => !["mnt", "volume.yaml"].includes(name));
    expect(places).toEqual(expect.arrayContaining(["buckets", "cache", "log", "meta", "run"]));
    expect(places.filter((name) => isOpen(join(up.dir, name)))).toEqual([]);
    expect(["buckets", "cache", "meta"].flatMap((name) => openBelow(join(up.dir, name)))).toEqual([]);
  });

  describe("kill -9 in the middle of a copy loses nothing", () => {
    const victims = {
      "the metadata leader of the primary": async () => {
        const leader = (await up.status()).regions.aws!.members.find((it) => it.leader);
        return `aws-meta-${leader!.id}`;
      },
      "the mirror's metadata server": async () => "gcp-meta-1",
      "the mirror's agent": async () => "gcp-agent",
      "the mirror's redis-server": async () => "gcp-queue",
    };

    it.each(Object.entries(victims))(
      "%s",
      async (what, find) => {
        const name = await find();
        const tree = join(scratch, "tree");
        makeTree(tree, what);
        const target = up.mount("aws", what.replaceAll(" ", "-"));
        const copy = spawn("cp", ["-a", tree, target], { stdio: ["ignore", "ignore", "inherit"] });
        const copied = new Promise<number | null>((done) => copy.once("close", done));
        await until("the copy to be under way", () => readdirSync(target).length > 2);
        const pid = up.pidOf(name);
        expect(copy.exitCode, "the kill hits a copy in flight").toBeNull();
        process.kill(pid, "SIGKILL");
        expect(copy.exitCode, "the copy continues after the kill").toBeNull();
        expect(await copied).toBe(0);
        await until(`${name} to run again`, () => up.pidOf(name) !== pid);
        expect(await run("diff", ["-r", "--no-dereference", tree, up.mount("gcp", what.replaceAll(" ", "-"))])).toEqual(
          {
            code: 0,
            stdout: "",
            stderr: "",
          },
        );
        expect(await up.mirrorfs("wait", "/", "--region", "gcp", "--timeout", "60")).toMatchObject({ code: 0 });
        const { regions } = await up.status();
        expect(regions.gcp!.blocks).toMatchObject({ pending: 0, failed: 0 });
        expect(regions.gcp!.stateHash).toBe(regions.aws!.stateHash);
        rmSync(tree, { recursive: true });
      },
      180_000,
    );
  });

  it("leaves no process and no mount after SIGTERM, and restarts with its data", async () => {
    expect(await up.stop("SIGTERM")).toBe(0);
    expect(up.leftovers()).toEqual([]);
    up = await Up.startIn(up.dir, "--wan-ms", "5");
    for (const region of ["aws", "gcp"] as const) {
      expect(await run("cmp", [join(scratch, "block"), up.mount(region, "block")])).toMatchObject({ code: 0 });
    }
  }, 150_000);
});

/** Whether others than its owner have any right to it. */
function isOpen(path: string): boolean {
  return (statSync(path).mode & 0o077) !== 0;
}

/** The files and directories below a directory to which others than their owner have any right. */
function openBelow(dir: string): string[] {
  const names = readdirSync(dir, { recursive: true, encoding: "utf8" }).map((name) => join(dir, name));
  return names.filter((path) => statSync(path, { throwIfNoEntry: false }) !== undefined && isOpen(path));
}

/** Writes small and large files whose content contains `label`. */
function makeTree(dir: string, label: string): void {
  for (let i = 0; i < 15; i++) {
    mkdirSync(join(dir, `d${i}`), { recursive: true });
    for (let j = 0; j < 15; j++) writeFileSync(join(dir, `d${i}`, `f${j}`), `${label} ${i} ${j}\n`.repeat(1 + j * 400));
  }
}

async function makeRepository(dir: string): Promise<void> {
  makeTree(dir, "repository");
  const identity = ["-c", "user.name=mirrorfs", "-c", "user.email=mirrorfs@localhost"];
  for (const args of [
    ["init", "--quiet"],
    ["add", "."],
    [...identity, "commit", "--quiet", "-m", "files"],
  ]) {
    expect(await run("git", args, { cwd: dir })).toMatchObject({ code: 0 });
  }
}
