import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { run, Up } from "./cloud.ts";

/** More of them find what is rare: `SWITCHOVERS=10 npx vitest run --project e2e test/e2e/working-directory.test.ts`. */
const SWITCHOVERS = Number(process.env.SWITCHOVERS ?? 3);
const REGIONS = ["aws", "gcp"] as const;
type Region = (typeof REGIONS)[number];
const canRun = process.getuid?.() === 0 && existsSync("/dev/fuse");

/** lives-through.py in a directory of a mount, one round at a time. */
class Programs {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(region: Region, cwd: string) {
    const program = join(import.meta.dirname, "lives-through.py");
    this.#child = spawn("timeout", ["-k", "1", "600", "python3", "-B", program, region], {
      cwd,
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, PWD: cwd },
    });
    this.#answers = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  /** What failed in one round of everything. */
  async round(): Promise<string[]> {
    this.#child.stdin!.write("\n");
    const { done, value } = await this.#answers.next();
    return done ? ["the programs ended"] : JSON.parse(value).errors;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin!.end();
    await gone;
  }
}

let up: Up;
const programs: Programs[] = [];
beforeAll(async () => {
  if (canRun) up = await Up.start("--replicas", "1", "--buckets", "file");
}, 120_000);
afterAll(async () => {
  for (const each of programs) await each.end();
  await up?.end();
}, 60_000);

it.skipIf(!canRun)(
  "A process whose working directory is in a mount, with files open there, lives through a switchover without an error",
  async () => {
    for (const region of REGIONS) {
      const home = join("work", region);
      mkdirSync(up.mount(region, home), { recursive: true });
      programs.push(new Programs(region, up.mount(region, home)));
    }
    const round = async () => (await Promise.all(programs.map((each) => each.round()))).flat();
    expect(await round()).toEqual([]);
    for (let n = 0; n < SWITCHOVERS; n++) {
      const to = n % 2 === 0 ? "gcp" : "aws";
      let over = false;
      const switchover = up.mirrorfs("switchover", "--to", to).finally(() => {
        over = true;
      });
      // Ends with the command, which has a time limit.
      while (!over) expect(await round(), `during the switchover to ${to}`).toEqual([]);
      expect(await switchover).toMatchObject({ code: 0 });
      expect(await round(), `after the switchover to ${to}`).toEqual([]);
    }
    const list = (region: Region) => run("ls", ["-R", "-I", ".git", up.mount(region, "work")]);
    const [aws, gcp] = await Promise.all(REGIONS.map(list));
    expect(gcp!.stdout.replaceAll(up.mount("gcp"), "")).toBe(aws!.stdout.replaceAll(up.mount("aws"), ""));
    for (const region of REGIONS) {
      const fsck = ["-C", up.mount(region === "aws" ? "gcp" : "aws", "work", region), "fsck", "--full", "--strict"];
      expect(await run("git", ["-c", "safe.directory=*", ...fsck])).toMatchObject({ code: 0 });
    }
  },
  60_000 + SWITCHOVERS * 30_000,
);
