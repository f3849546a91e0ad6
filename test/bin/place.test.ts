import { expect, it } from "vitest";
import { locate, readMounts } from "../../bin/place.ts";

const MOUNTS = readMounts(`proc /proc proc rw 0 0
imagenet@gcp /mirrorfs-test/data fuse.mirrorfs rw,nosuid 0 0
other@gcp /mirrorfs-test/data/in\\040side fuse.mirrorfs rw 0 0
`);

it("knows the mounts of mirrorfs, with blanks in their names", () => {
  expect(MOUNTS.map((it) => it.mountPoint)).toEqual(["/mirrorfs-test/data", "/mirrorfs-test/data/in side"]);
});

it("a path inside a mount is the volume's path below it; the innermost mount counts", () => {
  expect(locate("/mirrorfs-test/data/a/b", MOUNTS)).toMatchObject({ path: "/a/b", source: "imagenet@gcp" });
  expect(locate("/mirrorfs-test/data/", MOUNTS).path).toBe("/");
  expect(locate("/mirrorfs-test/data/in side/x", MOUNTS)).toMatchObject({ path: "/x", source: "other@gcp" });
});

it("any other path from / is one of the volume", () => {
  expect(locate("/train/../shards", MOUNTS)).toMatchObject({ path: "/shards", mountPoint: undefined });
  expect(locate("/mirrorfs-test/database", MOUNTS).mountPoint).toBeUndefined();
});

it("a relative path outside a mount is refused", () => {
  expect(() => locate("no-such-name", MOUNTS)).toThrow(
    "no-such-name: is in no mount of mirrorfs, and a path of the volume begins with '/'",
  );
});
