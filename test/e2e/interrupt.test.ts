import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { isMounted } from "../../sandbox/mounts.ts";
import { processesNaming } from "../../sandbox/processes.ts";
import { ROOT } from "../rules/source-files.ts";
import { MIRRORFS, Up, until } from "./cloud.ts";

it("when up is killed with SIGKILL, everything it started ends, and both mounts go", async () => {
  const up = await Up.start("--replicas", "1");
  try {
    expect(up.leftovers().length).toBeGreaterThan(0);
    await up.stop("SIGKILL");
    // Each process ends by itself, though what it talks to ends at the same time.
    await until("all is gone", () => up.leftovers().length === 0, 25_000).catch(() => {});
    expect(up.leftovers()).toEqual([]);
    // In good order: the signal of a parent's death comes several times.
    for (const name of ["aws-mount", "gcp-mount"]) expect(up.log(name)).toMatch(/"msg":"stopped"}\n$/);
  } finally {
    await up.end();
  }
}, 240_000);

it("Ctrl-C in the middle of the demo leaves no process, no mount and no file", async () => {
  const demo = spawn(MIRRORFS, ["demo", "--source", join(ROOT, "node_modules/typescript")], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  try {
    let output = "";
    for (const stream of [demo.stdout, demo.stderr]) stream.on("data", (data) => (output += data));
    const ended = new Promise<number | null>((done) => demo.once("close", done));
    await until("it copies", () => /^1\. /m.test(output) || demo.exitCode !== null, 90_000);
    const dir = /two clouds in (\S+):/.exec(output)![1]!;
    expect(isMounted(join(dir, "mnt/aws"))).toBe(true);
    demo.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(processesNaming(dir)).toEqual([]);
    expect(existsSync(dir)).toBe(false);
    expect(output).not.toMatch(/^mirrorfs: /m);
  } finally {
    demo.kill("SIGTERM");
  }
}, 150_000);
