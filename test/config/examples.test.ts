import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { readVolumeFile } from "../../config/volume-file.ts";
import { listFiles, ROOT } from "../rules/source-files.ts";

it("the example volume file is a right one", () => {
  expect(readVolumeFile(join(ROOT, "deploy/multicloud/volume.yaml")).primary).toBe("aws");
});

it("so is the README's", () => {
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
