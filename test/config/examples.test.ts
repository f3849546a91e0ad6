import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { readVolumeFile } from "../../config/volume-file.ts";
import { listFiles, ROOT, sourceFiles } from "../rules/source-files.ts";

it("the example volume file is valid", () => {
  expect(readVolumeFile(join(ROOT, "deploy/multicloud/volume.yaml")).primary).toBe("aws");
});

it("the README's volume file is valid", () => {
  const dir = mkdtempSync(join(tmpdir(), "mirrorfs-readme-"));
  const yaml = /```yaml\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, "README.md"), "utf8"))![1]!;
  writeFileSync(join(dir, "volume.yaml"), yaml);
  expect([...readVolumeFile(join(dir, "volume.yaml")).regions.keys()]).toEqual(["aws", "gcp"]);
  rmSync(dir, { recursive: true });
});

it.each(listFiles("deploy/*.yaml"))("%s is YAML", (path) => {
  for (const document of parseAllDocuments(readFileSync(join(ROOT, path), "utf8"), { merge: true }))
    expect(document.errors).toEqual([]);
});

it("the image holds every folder that bin/mirrorfs runs from", () => {
  const dockerfile = readFileSync(join(ROOT, "deploy/multicloud/Dockerfile"), "utf8");
  const copied = [...dockerfile.matchAll(/^COPY (\S+) \.\/\1$/gm)].map((match) => match[1]!);
  expect(copied.sort()).toEqual(foldersBehind("bin/mirrorfs.ts"));
});

/** The top-level folders of a file and of everything it imports, directly or not. */
function foldersBehind(start: string): string[] {
  const imports = new Map(sourceFiles().map((file) => [file.path, file.imports]));
  const reached = new Set([start]);
  // Iterating over a Set also visits what is added meanwhile.
  for (const path of reached)
    for (const imported of imports.get(path) ?? []) if (imports.has(imported)) reached.add(imported);
  return [...new Set([...reached].map((path) => path.split("/")[0]!))].sort();
}
