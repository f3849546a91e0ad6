import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ownMounts, readMountTable } from "../../base/mount-table.ts";
import { recordedVolumeFile, recordMount } from "../../bin/mount-record.ts";
import { locate } from "../../bin/place.ts";

const MOUNTS = ownMounts(
  readMountTable(`22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
90 28 0:53 / /mirrorfs-test/data rw,nosuid - fuse.mirrorfs imagenet@gcp rw
91 90 0:54 / /mirrorfs-test/data/in\\040side rw shared:7 master:1 - fuse.mirrorfs other@gcp rw
`),
);

it("finds the mounts of mirrorfs, also those with blanks in their names", () => {
  expect(MOUNTS.map((it) => it.mountPoint)).toEqual(["/mirrorfs-test/data", "/mirrorfs-test/data/in side"]);
});

it("maps a path below a mount to the volume's path, by the innermost mount", () => {
  expect(locate("/mirrorfs-test/data/a/b", MOUNTS)).toMatchObject({ path: "/a/b", mount: { source: "imagenet@gcp" } });
  expect(locate("/mirrorfs-test/data/", MOUNTS).path).toBe("/");
  expect(locate("/mirrorfs-test/data/in side/x", MOUNTS)).toMatchObject({ path: "/x", mount: { source: "other@gcp" } });
});

it("takes any other path from / as one of the volume", () => {
  expect(locate("/train/../shards", MOUNTS)).toMatchObject({ path: "/shards", mount: undefined });
  expect(locate("/mirrorfs-test/database", MOUNTS).mount).toBeUndefined();
});

it("refuses a relative path outside every mount", () => {
  expect(() => locate("no-such-name", MOUNTS)).toThrow(
    "no-such-name: not below a mount of mirrorfs: give such a path, or a path of the volume, which begins with '/'",
  );
});

it("knows the volume file of a mount, and not by the record of an earlier mount (defect 28)", () => {
  const directory = mkdtempSync(join(tmpdir(), "mirrorfs-run-"));
  const [first, second] = MOUNTS.map(({ device, source }) => ({ device, source }));
  const forget = recordMount(first!, "/etc/mirrorfs/volume.yaml", directory);
  expect(recordedVolumeFile(first!, directory)).toBe("/etc/mirrorfs/volume.yaml");
  expect(recordedVolumeFile(second!, directory)).toBeUndefined();
  expect(recordedVolumeFile({ ...first!, source: "other@gcp" }, directory)).toBeUndefined();
  forget();
  expect(recordedVolumeFile(first!, directory)).toBeUndefined();
  rmSync(directory, { recursive: true });
});
