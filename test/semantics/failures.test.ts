import { rename } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Status } from "../../proto/generated/metadata.ts";
import { caller, O_CREAT, O_RDWR, O_WRONLY, ok, World } from "../client/support/world.ts";
import { RawClient } from "../meta-server/raw-client.ts";

let world: World;
afterEach(() => world.stop());

test("What could not be stored is reported once, by the next fsync or close of each descriptor that was open then", async () => {
  world = await World.start();
  const disk = await world.open("aws", { writeTimeoutMs: 1_000 });
  const one = await disk.open("file", O_CREAT | O_RDWR);
  const two = await disk.open("file", O_WRONLY);
  await one.write("kept");
  await one.fsync();
  await world.stopServer("aws");
  await one.write("LOST");
  await expect(one.fsync()).rejects.toThrow("EIO");
  await world.startServer("aws");
  await one.fsync();
  await expect(two.close()).rejects.toThrow("EIO");
  await one.close();
  expect(String(await disk.read("file"))).toBe("kept");
});

test("Bytes that no bucket can give are EIO, never zeros, and are read again once a bucket has them", async () => {
  world = await World.start();
  const disk = await world.open("aws", { readTimeoutMs: 1_000 });
  const data = Buffer.alloc(5_000_000, "bytes");
  await disk.write("file", data);
  const other = await world.open("aws", { readTimeoutMs: 1_000 });
  const blocks = join(world.dir, "bucket-aws", "test");
  await rename(blocks, `${blocks}-away`);
  await expect(other.read("file")).rejects.toThrow("EIO");
  await rename(`${blocks}-away`, blocks);
  expect((await other.read("file")).equals(data)).toBe(true);
});

test("Locks end with their session: a descriptor of a file that was locked in it then gets EIO, so that its holder learns of it", async () => {
  world = await World.start();
  const disk = await world.open();
  const file = await disk.open("locked", O_CREAT | O_RDWR);
  const free = await disk.open("free", O_CREAT | O_RDWR);
  const range = { mode: "write" as const, start: 0, end: 9, pid: 1 };
  ok(await disk.handlers.setlk(caller(), file.inode, file.handle, "me", range, { wait: false, flock: false }));
  const before = disk.access.state.session.id;
  // As the leader does when a session times out.
  const ending = new RawClient(world.volume.regions.get("aws")!.meta[0]!, { session: before });
  await ending.welcome;
  expect((await ending.mutate({ kind: "closeSession", session: before })).status).toBe(Status.OK);
  ending.close();
  await disk.mkdir("made in the next session");
  expect(disk.access.state.session.id).not.toBe(before);
  await expect(file.write("no")).rejects.toThrow("EIO");
  await expect(file.fsync()).rejects.toThrow("EIO");
  await free.write("yes");
  await free.close();
});
