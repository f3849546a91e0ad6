import { afterAll, beforeAll, expect, test } from "vitest";
import { type KernelName, KernelNames } from "../../../../client/volume/filesystem/kernel-names.ts";
import type { ByteString, Inode } from "../../../../core/ids.ts";
import { caller, type Disk, O_RDONLY, ok, World } from "../../support/world.ts";

const FILES = 3000;
const INODES_MAX = 1000;

let world: World;
beforeAll(async () => {
  world = await World.start();
  const disk = await world.open();
  await disk.mkdir("many");
  const many = await disk.lookup("many");
  const what = { kind: "file", mode: 0o644, umask: 0, device: 0, target: "" as ByteString } as const;
  const made = Array.from({ length: FILES }, (_, n) => disk.handlers.make(caller(), many, `f${n}` as ByteString, what));
  for (const reply of await Promise.all(made)) ok(reply);
});
afterAll(() => world.stop());

/** A kernel that keeps all that it has looked up until it is asked to let go of it. */
function greedyKernel(disk: Disk, canPrune: boolean): { dropped: ByteString[] } {
  const { kernel, nodes } = disk.access.state;
  const dropped: ByteString[] = [];
  const forget = (inode: Inode) => disk.handlers.forget(inode, nodes.get(inode)?.lookups ?? 0);
  kernel.caches = {
    ...kernel.caches,
    canPrune,
    prune: async (inodes) => inodes.forEach(forget),
    invalidateEntry: async (parent, name) => {
      dropped.push(name);
      const inode = nodes.named(parent, name);
      if (inode !== undefined) setImmediate(forget, inode);
    },
  };
  return { dropped };
}

/** Looks up every file, as `find` does with READDIRPLUS. Answers the highest number of nodes. */
async function findAll(disk: Disk): Promise<number> {
  const { nodes } = disk.access.state;
  const many = await disk.lookup("many");
  let highest = 0;
  for (let n = 0; n < FILES; n++) {
    ok(await disk.handlers.lookup(caller(), many, `f${n}` as ByteString));
    highest = Math.max(highest, nodes.size);
  }
  return highest;
}

test.each([true, false])(
  "a find over many files keeps the number of nodes bounded (defect 11), prune: %s",
  async (canPrune) => {
    const disk = await world.open("aws", { inodesMax: INODES_MAX });
    const { dropped } = greedyKernel(disk, canPrune);
    const open = await disk.open("many/f7", O_RDONLY);
    const highest = await findAll(disk);
    expect(highest).toBeLessThan(FILES * 0.75);
    const { nodes } = disk.access.state;
    await expect.poll(() => nodes.size).toBeLessThanOrEqual(INODES_MAX);
    // What is open stays, and so does a directory whose name would have to be dropped.
    expect(nodes.get(open.inode)?.handles).toBe(1);
    expect(dropped).not.toContain("many");
    expect(dropped.length > 0).toBe(!canPrune);
    await open.close();
  },
);

test("the names of an inode are kept like those of a Map, whatever their number (defect 11)", () => {
  const names = new KernelNames();
  const model = new Map<string, KernelName>();
  const name = (n: number) => ({ parent: 1 as Inode, name: `${n}` as ByteString, expired: false });
  for (const [key, add] of [1, 2, 3, -1, 1, 2, -3, -2, -1, 4, -5].map((n) => [`${Math.abs(n)}`, n > 0] as const)) {
    const value = name(Number(key));
    if (add) names.set(key, value);
    else names.delete(key);
    if (add) model.set(key, value);
    else model.delete(key);
    expect(new Map(names.entries())).toEqual(model);
    expect([...names.values()].length).toBe(model.size);
    for (const one of "12345") expect(names.get(one)).toBe(model.get(one));
  }
});
