import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { listFiles, ROOT, sourceFiles } from "./source-files.ts";

const files = sourceFiles();
const LINES_MAX = 450;

/** Files that are started, not imported. */
const STARTED = /^(bin\/mirrorfs\.ts|vitest\.config\.ts)$|\.test\.ts$|(^|\/)main\.ts$|^test\/.*\/measure[^/]*\.ts$/;

it("every file is used", () => {
  const imported = new Set(files.flatMap((file) => file.imports));
  expect(
    files.map((file) => file.path).filter((path) => !imported.has(path) && !STARTED.test(path) && !isStarted(path)),
  ).toEqual([]);
});

it("every exported value is used outside its file", () => {
  const unused = files
    .filter((file) => !file.path.startsWith("test/") && !file.path.endsWith(".config.ts"))
    .flatMap((file) =>
      exportsOf(file.text)
        .filter((name) => !isUsedOutside(file.path, name))
        .map((name) => `${file.path}: ${name}`),
    );
  expect(unused).toEqual([]);
});

it("every dependency is used", () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const used = new Set(files.flatMap((file) => file.imports));
  const generated = listFiles("proto/generated/*.ts").map((path) => readFileSync(join(ROOT, path), "utf8"));
  // Tools, by the name of what they bring.
  const tools = ["@biomejs/biome", "@bufbuild/buf", "@types/node", "node", "ts-proto", "typescript"];
  const unused = Object.keys({ ...dependencies, ...devDependencies }).filter(
    (name) => !used.has(name) && !tools.includes(name) && !generated.some((text) => text.includes(`"${name}`)),
  );
  expect(unused).toEqual([]);
});

it(`no file is longer than ${LINES_MAX} lines`, () => {
  expect(files.filter((file) => file.text.split("\n").length > LINES_MAX).map((file) => file.path)).toEqual([]);
});

it("nothing is left to do in a comment", () => {
  // Spelled apart, so that this line is none.
  const marks = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`);
  expect(files.filter((file) => marks.test(file.text)).map((file) => file.path)).toEqual([]);
});

/** Values; a type may be exported for the signature it is part of. */
function exportsOf(text: string): string[] {
  const declared = /^export (?:abstract |async )?(?:class|function\*?|const|let) (\w+)/gm;
  return [...text.matchAll(declared)].map((match) => match[1]!);
}

function isUsedOutside(path: string, name: string): boolean {
  const word = new RegExp(`\\b${name}\\b`);
  return files.some((file) => file.path !== path && file.imports.includes(path) && word.test(file.text));
}

/** Named in a script, or in the start of a worker or a child (`./notify-worker.${extension}`). */
function isStarted(path: string): boolean {
  const name = path.split("/").at(-1)!.replace(/ts$/, "");
  return (
    files.some((file) => file.path !== path && new RegExp(`["/]${name.replaceAll(".", "\\.")}`).test(file.text)) ||
    readFileSync(join(ROOT, "package.json"), "utf8").includes(path)
  );
}
