import { afterAll, beforeAll, expect, test } from "vitest";
import { type Disk, O_CREAT, O_RDWR, World } from "../../support/world.ts";

let world: World;
let disk: Disk;
/** Another mount of the same region. */
let other: Disk;

beforeAll(async () => {
  world = await World.start();
  disk = await world.open();
  other = await world.open();
});
afterAll(() => world.stop());

test("a direct write with O_DSYNC is answered once it is committed, and many at once share a commit (defect 10)", async () => {
  const file = await disk.open("journal", O_CREAT | O_RDWR);
  const before = disk.access.state.nodes.get(file.inode)?.writer?.commits ?? 0;
  const blocks = Array.from({ length: 16 }, (_, index) => Buffer.alloc(512, 65 + index));
  await Promise.all(blocks.map((block, index) => file.write(block, index * 512, { durable: true })));
  expect((await other.read("journal")).equals(Buffer.concat(blocks))).toBe(true);
  expect(disk.access.state.nodes.get(file.inode)!.writer!.commits - before).toBe(1);
  await file.close();
});

test("a direct write drops the pages that were read meanwhile before it is answered; without any there is nothing to drop (defect 29)", async () => {
  const { kernel } = disk.access.state;
  const { caches } = kernel;
  const dropped: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  kernel.caches = {
    ...caches,
    invalidatePages: (inode, offset, length) => {
      dropped.push([inode, offset, length]);
      return gate.promise;
    },
  };
  try {
    const file = await disk.open("pages", O_CREAT | O_RDWR);
    await file.write("first", 0, { direct: true });
    await file.read(0, 100, true);
    expect(dropped).toEqual([]);
    await file.read(0, 100);
    let answered = false;
    const writing = file.write("SECOND", 0, { direct: true }).then(() => {
      answered = true;
    });
    expect(String(await file.read(0, 100))).toBe("SECOND");
    expect(dropped).toEqual([[file.inode, 0, 6]]);
    expect(answered).toBe(false);
    gate.resolve();
    await writing;
    await file.close();
  } finally {
    kernel.caches = caches;
  }
});

test("direct writes with O_DSYNC that cannot be stored all fail, and the next close says so, too (defect 10)", async () => {
  const file = await disk.open("lost", O_CREAT | O_RDWR);
  const { session } = disk.access.state;
  const { mutate } = session;
  session.mutate = async () => "EIO";
  try {
    const writes = [0, 1, 2].map((at) => file.write("y", at, { durable: true }).catch((error: Error) => error.message));
    expect(await Promise.all(writes)).toEqual(["EIO", "EIO", "EIO"]);
    await expect(file.fsync()).rejects.toThrow("EIO");
  } finally {
    session.mutate = mutate;
  }
  await file.close();
});
