import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeAttributes, decodeChunk } from "../../core/codec.ts";
import type { ByteString, Inode } from "../../core/ids.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { until } from "../support/until.ts";
import { TestVolume } from "./harness.ts";
import { makeCommand, outcomeOf, RawClient } from "./raw-client.ts";

let volume: TestVolume;
let client: RawClient;
let address: string;

beforeAll(async () => {
  volume = await TestVolume.create({ aws: 1 });
  await volume.start("aws");
  address = (await volume.leader("aws", (status) => status.role === "primary")).address;
  client = new RawClient(address);
  expect((await client.open()).status).toBe(Status.OK);
});

afterAll(async () => {
  client.close();
  await volume.close();
});

test("a file is created, looked up, written, read, renamed and unlinked", async () => {
  const directory = await client.make(1, "d", "directory");
  const file = await client.make(directory.inode, "f");
  expect(await client.lookup(directory.inode, "f")).toEqual(file);
  expect(await client.lookup(directory.inode, "g")).toBe("ENOENT");

  const data = Buffer.from("hello");
  const write = await client.mutate({
    kind: "write",
    inode: file.inode,
    extents: [{ kind: "inline", offset: 0, data }],
  });
  expect(write.status).toBe(Status.OK);
  const chunks = await client.ask({ $case: "readChunks", value: { inode: file.inode, first: 0, count: 1 } });
  expect(decodeChunk(chunks.chunks[0]!.chunk).segments).toEqual([
    { kind: "inline", offset: 0, data: new Uint8Array(data) },
  ]);

  const renamed = await client.mutate({
    kind: "rename",
    parent: directory.inode,
    name: "f" as ByteString,
    newParent: 1 as Inode,
    newName: "g" as ByteString,
    mode: "replace",
  });
  expect(renamed.status).toBe(Status.OK);
  const path = await client.ask({ $case: "pathOf", value: { inode: file.inode } });
  expect(path.path).toBe("/g");
  const found = await client.ask({ $case: "resolvePath", value: { path: "/g" } });
  expect(found.status).toBe(Status.OK);
  await client.mutate({ kind: "unlink", parent: 1 as Inode, name: "g" as ByteString });
  expect(await client.lookup(1, "g")).toBe("ENOENT");
  await until("the unlinked inode to be reaped", async () => {
    const answer = await client.ask({ $case: "getAttributes", value: { inode: file.inode } });
    return answer.error === "ENOENT" ? true : undefined;
  });
});

test("a directory is listed in pages, with attributes", async () => {
  const directory = await client.make(1, "big", "directory");
  await Promise.all(
    Array.from({ length: 300 }, (_, i) => client.make(directory.inode, `f${String(i).padStart(3, "0")}`)),
  );
  const names: string[] = [];
  let after: Buffer = Buffer.alloc(0);
  for (let end = false; !end; ) {
    const page = await client.ask({
      $case: "readDirectory",
      value: { inode: directory.inode, after, limit: 100, attributes: true },
    });
    expect(page.entries.every((entry) => entry.attributes.length > 0)).toBe(true);
    names.push(...page.entries.map((entry) => entry.name.toString()));
    after = page.entries.at(-1)?.name ?? after;
    end = page.end;
  }
  expect(names).toEqual(Array.from({ length: 300 }, (_, i) => `f${String(i).padStart(3, "0")}`));
});

test(".mirrorfs is reached by its name, and no listing of the root has it, whatever the size of the pages", async () => {
  for (const name of ["-", ".a", ".z"]) await client.make(1, name);
  const system = await client.lookup(1, ".mirrorfs");
  expect(system).toMatchObject({ inode: 2, uid: 0, mode: 0o700 });
  for (const limit of [1, 2, 3, 1_000]) {
    const names: string[] = [];
    for (let end = false; !end; ) {
      const after = Buffer.from(names.at(-1) ?? "");
      const page = await client.ask({
        $case: "readDirectory",
        value: { inode: 1, after, limit, attributes: true },
      });
      expect(page.entries.length).toBeLessThanOrEqual(limit);
      expect(page.end || page.entries.length > 0).toBe(true);
      names.push(...page.entries.map((entry) => entry.name.toString()));
      end = page.end;
    }
    expect(names.slice(0, 3)).toEqual(["-", ".a", ".z"]);
    expect(names).not.toContain(".mirrorfs");
    expect(names.length).toBe((await attributesOfRoot()).entries);
  }
  const inside = await client.ask({
    $case: "readDirectory",
    value: { inode: 2, after: Buffer.alloc(0), limit: 10, attributes: true },
  });
  expect(inside.entries.map(({ name, inode }) => `${name} ${inode}`)).toEqual(["lost+found 4", "trash 3"]);
  const path = await client.ask({ $case: "pathOf", value: { inode: 3 } });
  expect(path.path).toBe("/.mirrorfs/trash");
});

async function attributesOfRoot() {
  const answer = await client.ask({ $case: "getAttributes", value: { inode: 1 } });
  return decodeAttributes(answer.attributes);
}

test("a request that is sent again gets the same answer and is not repeated", async () => {
  const command = makeCommand(1, "once");
  const first = await client.mutate(command, { request: 3_000 });
  const again = await client.mutate(command, { request: 3_000 });
  expect(outcomeOf(again)).toEqual(outcomeOf(first));
});

test("an unknown session, a command that only servers may send, and bytes that are no command are refused", async () => {
  const stranger = new RawClient(address);
  await stranger.welcome;
  expect((await stranger.mutate(makeCommand(1, "x"))).status).toBe(Status.NO_SESSION);
  const reap = await client.mutate({ kind: "reap", inode: 1 as Inode, chunks: [], xattrs: [] });
  expect([reap.status, reap.error]).toEqual([Status.FAILED, "EPERM"]);
  const noise = { request: 9, lowWater: 0, command: Buffer.from("noise"), wait: false };
  expect((await client.ask({ $case: "mutate", value: noise })).error).toBe("EINVAL");
  stranger.close();
});

test("a change is pushed to the other clients, not to its author; an open checks the names that led to it", async () => {
  const other = new RawClient(address);
  await other.open();
  const before = client.invalidations.length;
  const file = await client.make(1, "pushed");
  await until("the push", () => other.invalidations.some(({ name }) => name.toString() === "pushed") || undefined);
  expect(client.invalidations.length).toBe(before);
  const beliefs = [{ parent: 1, name: Buffer.from("pushed"), inode: file.inode + 1 }];
  const stale = await client.ask({ $case: "open", value: { inode: file.inode, beliefs, chunks: 0 } });
  expect([stale.status, stale.error, stale.staleBelief]).toEqual([Status.FAILED, "ESTALE", 0]);
  other.close();
});

test("an unlinked file that is open is kept until it is released", async () => {
  const file = await client.make(1, "open");
  await client.ask({ $case: "open", value: { inode: file.inode, beliefs: [], chunks: 0 } });
  await client.mutate({ kind: "unlink", parent: 1 as Inode, name: "open" as ByteString });
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect((await client.ask({ $case: "getAttributes", value: { inode: file.inode } })).status).toBe(Status.OK);
  await client.ask({ $case: "release", value: { inode: file.inode, handles: 1 } });
  await until("the reaping", async () => {
    const answer = await client.ask({ $case: "getAttributes", value: { inode: file.inode } });
    return answer.error === "ENOENT" || undefined;
  });
});

test("a request that waits for a lock gets it when it is released, or is interrupted", async () => {
  const file = await client.make(1, "locked");
  const lock = (mode: "write" | "unlock", owner: string) =>
    ({ kind: "lock", inode: file.inode, table: "posix", owner, mode, start: 0, end: 9, pid: 1 }) as const;
  expect((await client.mutate(lock("write", "a"))).status).toBe(Status.OK);
  expect((await client.mutate(lock("write", "b"))).error).toBe("EAGAIN");
  const waiting = client.mutate(lock("write", "b"), { wait: true });
  const interrupted = client.mutate(lock("write", "c"), { wait: true });
  await client.mutate(lock("unlock", "c"));
  expect((await interrupted).error).toBe("EINTR");
  await client.mutate(lock("unlock", "a"));
  expect((await waiting).status).toBe(Status.OK);
});

test("a free lock is announced to one waiter at a time, which has a second to take it (defect 1)", async () => {
  const file = await client.make(1, "announced");
  const lock = (mode: "write" | "unlock", owner: string) =>
    ({ kind: "lock", inode: file.inode, table: "posix", owner, mode, start: 0, end: 9, pid: 1 }) as const;
  await client.mutate(lock("write", "a"));
  const announced: string[] = [];
  const wait = async (owner: string) => {
    const answer = await client.mutate(lock("write", owner), { request: 0, wait: true });
    expect([answer.status, answer.outcome.length]).toEqual([Status.OK, 0]);
    announced.push(owner);
  };
  const waits = [wait("b"), wait("c"), wait("d")];
  await client.mutate(lock("unlock", "a"));
  await waits[0];
  const late = client.mutate(lock("write", "e"));
  expect((await client.mutate(lock("write", "b"))).status).toBe(Status.OK);
  expect((await late).error).toBe("EAGAIN");
  expect(announced).toEqual(["b"]);
  // "c" does not take its turn, so "d" is next.
  await client.mutate(lock("unlock", "b"));
  await Promise.all(waits);
  expect(announced).toEqual(["b", "c", "d"]);
  expect((await client.mutate(lock("write", "d"))).status).toBe(Status.OK);
});

test("everything is there after a restart", async () => {
  const file = await client.make(1, "kept");
  const { stateHash } = await volume.status(address);
  client.close();
  await volume.stop("aws");
  await volume.start("aws");
  const status = await volume.leader("aws", (one) => one.role === "primary");
  expect(status.stateHash).toBe(stateHash);
  client = new RawClient(address, { session: client.session });
  await client.welcome;
  expect(await client.lookup(1, "kept")).toEqual(file);
});
