import { afterAll, beforeAll, expect, test } from "vitest";
import type { ByteString } from "../../core/ids.ts";
import { channelCredentials } from "../../proto/credentials.ts";
import { AdminClient, type RegionStatus } from "../../proto/generated/admin.ts";
import { caller, type Disk, O_CREAT, O_RDWR, ok, World } from "../client/support/world.ts";

/** Bugs of other systems in replicating names: docs/TRACK_RECORD.md, scenarios 7 to 10. */
let world: World;
let aws: Disk;
let gcp: Disk;

beforeAll(async () => {
  world = await World.start(["aws", "gcp"]);
  aws = await world.open("aws");
  gcp = await world.open("gcp");
});
afterAll(() => world.stop());

function status(region: string): Promise<RegionStatus> {
  const admin = new AdminClient(world.volume.regions.get(region)!.meta[0]!, channelCredentials());
  return new Promise<RegionStatus>((resolve, reject) =>
    admin.status({ volume: "test" }, (error, answer) => (error === null ? resolve(answer) : reject(error))),
  ).finally(() => admin.close());
}

async function remove(disk: Disk, path: string, how: "unlink" | "rmdir" = "unlink"): Promise<void> {
  const slash = path.lastIndexOf("/");
  const parent = await disk.lookup(path.slice(0, Math.max(0, slash)));
  ok(await disk.handlers[how](caller(), parent, path.slice(slash + 1) as ByteString));
}

async function symlink(disk: Disk, path: string, target: string): Promise<void> {
  const slash = path.lastIndexOf("/");
  const parent = await disk.lookup(path.slice(0, slash));
  const what = { kind: "symlink", mode: 0o777, umask: 0, device: 0, target: target as ByteString } as const;
  ok(await disk.handlers.make(caller(), parent, path.slice(slash + 1) as ByteString, what));
}

test("7: a renamed directory keeps its unmodified descendants (ceph PR#70757, seaweedfs#2548, #11261)", async () => {
  await aws.mkdir("before");
  await aws.mkdir("before/deep");
  const content = (name: number) => Buffer.alloc(name % 2 === 0 ? 10 : 20_000, `${name}`);
  for (let name = 0; name < 20; name++) await aws.write(`before/deep/${name}`, content(name));
  // The mirror has cached the old name, and half of the files' blocks are only in the primary's bucket.
  expect((await gcp.list("before/deep")).length).toBe(20);
  await aws.rename("before", "after");
  await gcp.rename("after/deep", "shallow");
  for (const disk of [aws, gcp]) {
    expect(await disk.list("after")).toEqual([]);
    expect((await disk.list("shallow")).length).toBe(20);
    for (let name = 0; name < 20; name++) expect((await disk.read(`shallow/${name}`)).equals(content(name))).toBe(true);
    await expect(disk.lookup("before")).rejects.toThrow("ENOENT");
  }
});

test("8: both regions create, remove and mkdir one name concurrently, and end in one state (gluster#246, #2388)", async () => {
  await aws.mkdir("wedge");
  const outcomes = new Set<string>();
  async function churn(disk: Disk, seed: number): Promise<void> {
    for (let round = 0; round < 60; round++) {
      const steps = [
        () => disk.write("wedge/name", `${seed}`),
        () => remove(disk, "wedge/name"),
        () => disk.mkdir("wedge/name"),
        () => remove(disk, "wedge/name", "rmdir"),
        async () => {
          await disk.write(`wedge/${seed}`, "over");
          await disk.rename(`wedge/${seed}`, "wedge/name");
        },
      ];
      await steps[(round * 7 + seed) % steps.length]!().catch((error: Error) => outcomes.add(error.message));
    }
  }
  await Promise.all([churn(aws, 1), churn(aws, 2), churn(gcp, 3), churn(gcp, 4)]);
  const expected = ["ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ESTALE", "ENOTEMPTY"];
  expect([...outcomes].filter((error) => !expected.includes(error))).toEqual([]);
  expect(outcomes.size, "the regions did conflict").toBeGreaterThan(1);
  expect((await gcp.list("wedge")).sort()).toEqual((await aws.list("wedge")).sort());
  await aws.write("afterwards", "the mirror continues");
  // From the servers' status: a read at a mirror that is behind would wait for the primary's commit.
  const state = ({ version, stateHash }: RegionStatus) => `${version!.sequence} ${stateHash}`;
  const differ = async () => new Set([state(await status("aws")), state(await status("gcp"))]).size;
  await expect.poll(differ, { timeout: 10_000 }).toBe(1);
});

test("9: a name that changes its type has the new type at once, as with git checkout (ceph PR#61068)", async () => {
  await aws.mkdir("types");
  for (let round = 0; round < 5; round++) {
    await aws.write("types/name", `file ${round}`);
    expect(String(await gcp.read("types/name"))).toBe(`file ${round}`);
    await remove(aws, "types/name");
    await aws.mkdir("types/name");
    await aws.write("types/name/inside", "x");
    expect(await gcp.list("types/name")).toEqual(["inside"]);
    await remove(aws, "types/name/inside");
    await remove(aws, "types/name", "rmdir");
    await symlink(aws, "types/name", `target-${round}`);
    const link = await gcp.lookup("types/name");
    expect(ok(await gcp.handlers.readlink(caller(), link)).target).toBe(`target-${round}`);
    await remove(aws, "types/name");
    await expect(gcp.lookup("types/name")).rejects.toThrow("ENOENT");
  }
});

test("10: new content with the same size and a restored mtime is replicated (ceph PR#70881)", async () => {
  for (const bytes of [100, 20_000]) {
    const path = `same-${bytes}`;
    await aws.write(path, Buffer.alloc(bytes, "old"));
    const { mtime } = await aws.stat(path);
    expect((await gcp.read(path)).equals(Buffer.alloc(bytes, "old"))).toBe(true);
    const file = await aws.open(path, O_CREAT | O_RDWR);
    await file.write(Buffer.alloc(bytes, "new"));
    ok(await aws.handlers.setattr(caller(), file.inode, { mtime }));
    await file.close();
    expect(await gcp.stat(path)).toMatchObject({ size: bytes, mtime });
    expect((await gcp.read(path)).equals(Buffer.alloc(bytes, "new"))).toBe(true);
  }
});
