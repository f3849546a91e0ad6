import { afterAll, beforeAll, expect, test } from "vitest";
import type { ByteString } from "../../core/ids.ts";
import { caller, type Disk, O_CREAT, O_RDONLY, O_RDWR, ok, ROOT, World } from "../client/support/world.ts";

/** POSIX behaviour through mounts in two regions. Each test's title is its promise in docs/SEMANTICS.md. */
let world: World;
let aws: Disk;
let gcp: Disk;

beforeAll(async () => {
  world = await World.start(["aws", "gcp"]);
  aws = await world.open("aws");
  gcp = await world.open("gcp");
});
afterAll(() => world.stop());

test("rename is atomic: a lookup of a name that is being replaced finds the old file or the new one, in every region", async () => {
  await aws.mkdir("atomic");
  await aws.write("atomic/name", "round 0");
  const roundOf = new Map([[await aws.lookup("atomic/name"), 0]]);
  /** The rounds whose rename has begun, and has ended: a look finds one of them, or one in between. */
  let [begun, ended] = [0, 0];
  const wrong: string[] = [];
  let looks = 0;
  async function look(disk: Disk): Promise<void> {
    const from = ended;
    const found = await disk.lookup("atomic/name").then(
      (inode) => roundOf.get(inode),
      (error: Error) => error.message,
    );
    if (!(Number(found) >= from && Number(found) <= begun)) wrong.push(`${found} was found, of ${from} to ${begun}`);
    const again = ended;
    const content = await disk.read("atomic/name").then(String, (error: Error) => error.message);
    const read = Number(/^round (\d+)$/.exec(content)?.[1]);
    if (!(read >= again && read <= begun)) wrong.push(`"${content}" was read, of ${again} to ${begun}`);
    looks++;
  }
  let running = true;
  const looking = [aws, gcp].map(async (disk) => {
    while (running) await look(disk);
  });
  for (let round = 1; round <= 30; round++) {
    const disk = round % 2 === 0 ? aws : gcp;
    await disk.write("atomic/next", `round ${round}`);
    roundOf.set(await disk.lookup("atomic/next"), round);
    begun = round;
    await disk.rename("atomic/next", "atomic/name");
    ended = round;
    await Promise.all([look(aws), look(gcp)]);
  }
  running = false;
  await Promise.all(looking);
  expect(looks).toBeGreaterThan(60);
  expect(wrong).toEqual([]);
});

test("A file that is unlinked while it is open keeps its content until its last close, in whichever region it is open", async () => {
  await aws.write("orphan", Buffer.alloc(100_000, "orphan"));
  const open = await gcp.open("orphan", O_RDONLY);
  await aws.unlink("orphan");
  await expect(gcp.lookup("orphan")).rejects.toThrow("ENOENT");
  await new Promise((resolve) => setTimeout(resolve, 3_000)); // longer than the grace of the reaper (reaper.ts)
  expect((await open.read(0, 100_000)).equals(Buffer.alloc(100_000, "orphan"))).toBe(true);
  const attributes = () => gcp.handlers.getattr(caller(), open.inode, undefined);
  expect(ok(await attributes()).attributes.links).toBe(0);
  await open.close();
  await expect.poll(attributes, { timeout: 10_000 }).toBe("ENOENT");
});

test("Hard links share one inode number, one link count and one content, in every region", async () => {
  await aws.mkdir("links");
  await aws.write("links/one", "content");
  const inode = await aws.lookup("links/one");
  ok(await aws.handlers.link(caller(), inode, await aws.lookup("links"), "two" as ByteString));
  for (const disk of [aws, gcp]) {
    expect(await disk.lookup("links/two")).toBe(inode);
    expect((await disk.stat("links/one")).links).toBe(2);
  }
  await gcp.write("links/new", "x");
  const through = await gcp.open("links/two", O_RDWR);
  await through.write("CONTENT");
  await through.close();
  expect(String(await aws.read("links/one"))).toBe("CONTENT");
  await aws.unlink("links/one");
  expect((await gcp.stat("links/two")).links).toBe(1);
  expect(String(await gcp.read("links/two"))).toBe("CONTENT");
});

test("Extended attributes are kept byte for byte and mirrored: any name but system.…, values up to 64 KiB", async () => {
  await aws.write("tagged", "x");
  const inode = await aws.lookup("tagged");
  const [name, large] = ["user.tag" as ByteString, "trusted.large" as ByteString];
  const bytes = Buffer.from(Array.from({ length: 65_536 }, (_, at) => at % 256));
  ok(await gcp.handlers.setxattr(caller(), inode, name, Buffer.from([0, 255, 10]), 0));
  ok(await gcp.handlers.setxattr(caller(), inode, large, bytes, 0));
  for (const disk of [aws, gcp]) {
    expect(await disk.handlers.getxattr(caller(), inode, name)).toEqual(Buffer.from([0, 255, 10]));
    expect(Buffer.from(ok(await disk.handlers.getxattr(caller(), inode, large))).equals(bytes)).toBe(true);
    expect([...ok(await disk.handlers.listxattr(caller(), inode))].sort()).toEqual([large, name]);
  }
  expect(await aws.handlers.setxattr(caller(), inode, "user.no" as ByteString, Buffer.alloc(65_537), 0)).toBe("E2BIG");
  ok(await aws.handlers.removexattr(caller(), inode, name));
  expect(await gcp.handlers.getxattr(caller(), inode, name)).toBe("ENODATA");
});

test("A time that was set is kept to the nanosecond, in every region, also before 1970 and after 2038", async () => {
  for (const seconds of [-1, 1_700_000_000, 2 ** 33]) {
    const time = { seconds, nanoseconds: 123_456_789 };
    const file = await aws.open(`time${seconds}`, O_CREAT | O_RDWR);
    await file.write("written before the time was set");
    ok(await aws.handlers.setattr(caller(), file.inode, { mtime: time, atime: time }));
    await file.close();
    for (const disk of [aws, gcp])
      expect(await disk.stat(`time${seconds}`)).toMatchObject({ mtime: time, atime: time });
  }
});

test("Advisory locks, fcntl ranges and flock, hold between all mounts of all regions", async () => {
  const mine = await aws.open("locked", O_CREAT | O_RDWR);
  const theirs = await gcp.open("locked", O_RDWR);
  const range = { mode: "write" as const, start: 10, end: 19, pid: 7 };
  for (const flock of [false, true]) {
    const how = { wait: false, flock };
    const whole = flock ? { ...range, start: 0, end: Number.MAX_SAFE_INTEGER } : range;
    ok(await aws.handlers.setlk(caller(), mine.inode, mine.handle, "a", whole, how));
    expect(await gcp.handlers.setlk(caller(), mine.inode, theirs.handle, "b", whole, how)).toBe("EAGAIN");
    const waiting = gcp.handlers.setlk(caller(), mine.inode, theirs.handle, "b", whole, { wait: true, flock });
    await mine.write(`under the lock ${flock}`.padEnd(20));
    ok(await aws.handlers.setlk(caller(), mine.inode, mine.handle, "a", { ...whole, mode: "unlock" }, how));
    expect(await waiting).toBe(true);
    // The next holder of the lock sees what was written under it.
    expect(String(await theirs.read(0, 100))).toBe(`under the lock ${flock}`.padEnd(20));
    ok(await gcp.handlers.setlk(caller(), mine.inode, theirs.handle, "b", { ...whole, mode: "unlock" }, how));
  }
  await mine.close();
  await theirs.close();
});

test("A listing names each entry that exists throughout it exactly once, whatever is created or removed meanwhile", async () => {
  await aws.mkdir("busy");
  const staying = Array.from({ length: 1_300 }, (_, at) => `stays-${String(at).padStart(4, "0")}`);
  await Promise.all(staying.map((name) => aws.mkdir(`busy/${name}`)));
  const inode = await gcp.lookup("busy");
  const { handle } = ok(await gcp.handlers.opendir(caller(), inode));
  const names: string[] = [];
  for (let offset = 0, page = 0; ; page++) {
    const entries = ok(await gcp.handlers.readdir(caller(), inode, handle, offset, true));
    if (entries.length === 0) break;
    names.push(...entries.map(({ name }) => name));
    offset = entries.at(-1)!.nextOffset;
    await aws.mkdir(`busy/a-${page}`);
    await aws.mkdir(`busy/z-${page}`);
    if (page > 0) ok(await aws.handlers.rmdir(caller(), inode, `a-${page - 1}` as ByteString));
  }
  await gcp.handlers.releasedir(caller(), inode, handle);
  expect(names.filter((name) => name.startsWith("stays-"))).toEqual(staying);
  expect(new Set(names).size).toBe(names.length);
});

test("Names are as new as the open: a lookup finds what the primary has by then, and an open by a name that has moved is ESTALE", async () => {
  // A kernel that never finishes invalidating entries.
  const never = () => new Promise<void>(() => {});
  const { caches } = gcp.access.state.kernel;
  gcp.access.state.kernel.caches = { ...caches, invalidateEntry: never, expireEntry: never };
  await aws.mkdir("names");
  for (let round = 0; round < 10; round++) {
    await aws.write("names/name", `${round}`);
    const inode = await gcp.lookup("names/name");
    await aws.rename("names/name", `names/kept-${round}`);
    await expect(gcp.openInode(inode, O_RDONLY)).rejects.toThrow("ESTALE");
    await expect(gcp.lookup("names/name")).rejects.toThrow("ENOENT");
    expect(String(await gcp.read(`names/kept-${round}`))).toBe(`${round}`);
  }
  expect(await gcp.handlers.lookup(caller(), ROOT, "nowhere" as ByteString)).toBe("ENOENT");
});
