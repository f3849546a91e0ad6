import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { ROOT } from "./source-files.ts";

const GENERATED = "proto/generated";

it("proto/generated is exactly what `npm run generate` makes of proto/*.proto", () => {
  const directory = mkdtempSync(join(tmpdir(), "mirrorfs-generated-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const buf = join(ROOT, "node_modules/.bin/buf");
  const env = { ...process.env, BUF_CACHE_DIR: join(directory, "cache") };
  execFileSync(buf, ["generate", "--output", join(directory, "out")], { cwd: ROOT, env, stdio: "pipe" });
  const made = readTree(join(directory, "out", GENERATED));
  const committed = readTree(join(ROOT, GENERATED));
  expect(Object.keys(committed), "files").toEqual(Object.keys(made));
  const stale = Object.keys(made).filter((name) => committed[name] !== made[name]);
  expect(stale, "stale: run `npm run generate` and commit the result").toEqual([]);
});

/** The text of every file of a directory, by name, in order. */
function readTree(directory: string): Record<string, string> {
  const names = readdirSync(directory).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, name), "utf8")]));
}
