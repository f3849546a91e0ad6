import { spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ROOT } from "../rules/source-files.ts";

const SCRIPT = join(ROOT, "sandbox/prerequisites");
const ALL = [
  "redis-server",
  "fusermount3",
  "setpriv",
  "git",
  "rsync",
  "sqlite3",
  "fio",
  "cc",
  "python3",
  "tar",
  "flock",
];

/** For the shell of the script: a machine that has apt-get and the programs in $HAVE. */
const MACHINE = `
command() { case " $HAVE apt-get " in *" $2 "*) return 0 ;; *) return 1 ;; esac; }
id() { echo "$ID"; }
`;
/** Notes in $SAID that it was called, and installs nothing. */
const APT_GET = `#!/bin/sh\necho "apt-get $1" >>"$SAID"\nexit 1\n`;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-prerequisites-"));
  writeFileSync(join(dir, "apt-get"), APT_GET, { mode: 0o755 });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function prerequisites({ id, missing }: { id: number; missing: readonly string[] }) {
  const said = join(dir, "said");
  const have = ALL.filter((program) => !missing.includes(program)).join(" ");
  const { status, stderr } = spawnSync("sh", ["-c", `${MACHINE} . "$0"`, SCRIPT, "redis", "fuse", "tests"], {
    stdio: ["ignore", openSync(said, "a"), "pipe"],
    encoding: "utf8",
    env: { ...process.env, PATH: `${dir}:${process.env.PATH}`, TMPDIR: dir, HAVE: have, ID: String(id), SAID: said },
  });
  return { status, stderr, said: readFileSync(said, "utf8").split("\n") };
}

test("each program that a test runs is asked for: without python3 nothing begins, and one line says what to install", () => {
  expect(prerequisites({ id: 1000, missing: [] })).toMatchObject({ status: 0, stderr: "", said: [""] });
  expect(prerequisites({ id: 1000, missing: ["python3"] })).toMatchObject({
    status: 1,
    stderr: "mirrorfs: please install: python3 (Debian, Ubuntu: sudo apt-get install python3)\n",
  });
});

test("as root it says what it installs before it installs it", () => {
  const { said, status } = prerequisites({ id: 0, missing: ["python3", "cc"] });
  expect(said[0]).toMatch(/^mirrorfs: installing .* gcc libc6-dev python3$/);
  // Another user cannot come further: what forbids services to start is a file of root's.
  if (process.getuid?.() === 0) expect(said.slice(1)).toEqual(["apt-get install", "apt-get update", ""]);
  expect(status).not.toBe(0);
});
