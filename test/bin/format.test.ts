import { execFile } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterEach, expect, test } from "vitest";
import { claimBucket } from "../../object-store/marker.ts";
import { openObjectStore } from "../../object-store/open.ts";
import { TestVolume } from "../meta-server/harness.ts";

let volume: TestVolume;
afterEach(() => volume.close());

/** Runs `mirrorfs` on the volume. @returns what it printed, and its exit code. */
function run(...args: string[]): Promise<{ out: string; code: number }> {
  return new Promise((done) => {
    execFile(resolve("bin/mirrorfs"), args, (error, stdout, stderr) =>
      done({ out: stdout + stderr, code: error === null ? 0 : Number(error.code) }),
    );
  });
}

const format = (file: string, without: readonly string[]) => run("format", "--config", file, "--without", ...without);

test("mirrorfs format creates a volume without a region that starts later, unless a bucket of the volume was used before, and mirrorfs region lost declares it gone", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  const bucket = (region: string) => join(volume.directory, `bucket-${region}`);
  const lines = ["volume: test", "primary: aws", "regions:"];
  for (const [region, { meta }] of volume.volume.regions) {
    await mkdir(bucket(region));
    lines.push(`  ${region}:`, `    meta: ["${meta[0]}"]`, `    bucket: file://${bucket(region)}`);
    lines.push(`    queue: redis://127.0.0.1:${lines.length}`);
  }
  const file = join(volume.directory, "volume.yaml");
  await writeFile(file, `${lines.join("\n")}\n`);
  await volume.start("aws");
  await volume.leader("aws", ({ message }) => message.includes("mirrorfs format --without gcp"));

  const store = openObjectStore(`file://${bucket("gcp")}`);
  await claimBucket(store, { volume: "test", uuid: "of before", region: "gcp" });
  const marked = await format(file, ["gcp"]);
  expect(marked).toEqual({
    code: 1,
    out: expect.stringContaining("bucket-gcp of region gcp has been used by a volume test"),
  });
  expect((await volume.leader("aws")).role).toBe("unformatted");

  await rm(join(bucket("gcp"), "test"), { recursive: true });
  expect(await format(file, ["gcp"])).toEqual({ code: 0, out: "volume test is formatted; aws is its primary\n" });
  await volume.leader("aws", ({ role }) => role === "primary");
  expect(await format(file, ["gcp"])).toEqual({
    code: 1,
    out: expect.stringContaining("aws holds the volume already"),
  });
  expect(await format(file, ["azure"])).toEqual({ code: 2, out: expect.stringContaining("no region 'azure'") });
  await volume.start("gcp");
  await volume.leader("gcp", ({ role }) => role === "mirror");
  await volume.stop("gcp");
  const lost = await run("region", "lost", "gcp", "--config", file);
  expect(lost).toEqual({ code: 0, out: "aws no longer waits for gcp, until it answers again\n" });
});
