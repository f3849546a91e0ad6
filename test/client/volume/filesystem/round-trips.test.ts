import { afterAll, beforeAll, expect, test } from "vitest";
import type { ByteString } from "../../../../core/ids.ts";
import { caller, type Disk, O_CREAT, O_RDONLY, O_WRONLY, ok, World } from "../../support/world.ts";

let world: World;
let disk: Disk;

beforeAll(async () => {
  world = await World.start();
  disk = await world.open();
});
afterAll(() => world.stop());

/** Counts the requests that the mount sends to the metadata servers while `work` runs. */
async function requestsOf(work: () => Promise<unknown>): Promise<number> {
  const { session, reads } = disk.access.state;
  const { mutate } = session;
  const { attributes } = reads;
  let requests = 0;
  session.mutate = (...args) => {
    requests += 1;
    return mutate.apply(session, args);
  };
  reads.attributes = (...args) => {
    requests += 1;
    return attributes.apply(reads, args);
  };
  try {
    await work();
  } finally {
    Object.assign(session, { mutate });
    Object.assign(reads, { attributes });
  }
  return requests;
}

test("after a setxattr, owner, mode and times of a file that is being written still wait for its close, as cp -a makes them (defect 12)", async () => {
  const name = "user.a" as ByteString;
  const file = await disk.open("copy", O_CREAT | O_WRONLY);
  await file.write("bytes");
  for (const change of ["setxattr", "removexattr"] as const) {
    const { handlers } = disk;
    ok(
      change === "setxattr"
        ? await handlers.setxattr(caller(), file.inode, name, Buffer.from("v"), 0)
        : await handlers.removexattr(caller(), file.inode, name),
    );
    const sent = await requestsOf(async () => {
      ok(await handlers.setattr(caller(), file.inode, { mode: 0o600 }));
      ok(await handlers.setattr(caller(), file.inode, { mtime: { seconds: 5, nanoseconds: 0 } }));
      ok(await handlers.getattr(caller(), file.inode, file.handle));
    });
    expect(sent, change).toBe(0);
  }
  await file.close();
  expect(await disk.stat("copy")).toMatchObject({ mode: 0o600, mtime: { seconds: 5 }, size: 5, xattrs: 0 });
});

test("a reader that closes leaves the writer's bytes to the writer's own close (defect 12)", async () => {
  const writer = await disk.open("log", O_CREAT | O_WRONLY);
  const sent = await requestsOf(async () => {
    for (let line = 0; line < 5; line++) {
      await writer.write("line\n", line * 5);
      const reader = await disk.open("log", O_RDONLY);
      expect((await reader.read(0, 100)).length).toBe((line + 1) * 5);
      await reader.close();
    }
    await writer.close();
  });
  // One write, and in its frame the change time that the readers have seen.
  expect(sent).toBe(2);
});

test("what a reader's descriptor changed is durable when it is closed, and what was written under its lock (defect 12)", async () => {
  const other = await world.open();
  const writer = await disk.open("shared", O_CREAT | O_WRONLY);
  await writer.write("one");
  const reader = await disk.open("shared", O_RDONLY);
  ok(await disk.handlers.setattr(caller(), reader.inode, { mode: 0o640, handle: reader.handle }));
  await reader.close();
  expect((await other.stat("shared")).mode).toBe(0o640);

  const locked = await disk.open("shared", O_RDONLY);
  const range = { mode: "read", start: 0, end: 10, pid: 1 } as const;
  const how = { wait: false, flock: false };
  ok(await disk.handlers.setlk(caller(), locked.inode, locked.handle, "owner", range, how));
  await writer.write("two");
  await locked.close();
  expect(String(await other.read("shared"))).toBe("two");
  await writer.close();
});
