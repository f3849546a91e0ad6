import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { GroupEntry } from "../../consensus/group.ts";
import { decodeEntry, type Entry } from "../../core/codec.ts";
import { isLocal } from "../../meta-server/machine/local-entries.ts";
import { type RunningAgent, runAgent } from "../../mirror-agent/main.ts";
import { channelCredentials } from "../../proto/credentials.ts";
import { AdminClient, type RegionStatus } from "../../proto/generated/admin.ts";
import { bytes, request, session } from "../client/fuse/requests.ts";
import { O_RDONLY, World } from "../client/support/world.ts";
import { type PrivateRedis, privateRedis } from "../mirror-agent/support/redis.ts";
import { ROOT } from "../rules/source-files.ts";

/** The tour in docs/ARCHITECTURE.md: every stop exists, and a write passes them in that order. */
const stops = [
  ...readFileSync(join(ROOT, "docs/ARCHITECTURE.md"), "utf8").matchAll(/^(\d+)\. `([^`]+\.ts)` · `([^`]+)`:/gm),
].map(([, number, file, name]) => ({ number: Number(number), file: file!, name: name! }));

describe("the stops exist", () => {
  test("they are numbered consecutively from 1", () => {
    expect(stops.length).toBeGreaterThan(20);
    expect(stops.map(({ number }) => number)).toEqual(stops.map((_, at) => at + 1));
  });

  test.each(stops)("$number: $file $name", async ({ file, name }) => {
    const path = join(ROOT, file);
    expect(existsSync(path)).toBe(true);
    // Importing the thread's module would start serving.
    if (file === "client/volume/blocks/worker.ts") expect(readFileSync(path, "utf8")).toContain(`${name}(`);
    else expect(await find(file, name)).toBeTypeOf("function");
  });
});

type Method = (...args: never[]) => unknown;

/** A function exported by a file, or a method of an exported class. */
async function find(file: string, name: string): Promise<Method | undefined> {
  const exported = (await import(join(ROOT, file))) as Record<string, Method & { prototype: Record<string, Method> }>;
  const [first, method] = name.split(".");
  return method === undefined ? exported[first!] : exported[first!]?.prototype[method];
}

describe("a write passes the stops in order", () => {
  let world: World;
  let redis: PrivateRedis;
  let agent: RunningAgent;
  const seen: string[] = [];
  const applied: Entry[] = [];

  beforeAll(async () => {
    world = await World.start(["aws", "gcp"]);
    redis = await privateRedis();
    const regions = new Map([...world.volume.regions].map(([name, one]) => [name, { ...one, queue: redis.url }]));
    const logger = pino({ level: "silent" });
    agent = await runAgent({ volume: { ...world.volume, regions }, region: "gcp", logger });
    for (const { file, name } of stops) if (name.includes(".")) await watch(file, name);
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await agent?.stop();
    await redis?.kill();
    await world?.stop();
  });

  async function watch(file: string, name: string): Promise<void> {
    const exported = (await import(join(ROOT, file))) as Record<string, { prototype: Record<string, Method> }>;
    const [owner, method] = name.split(".") as [string, string];
    const { prototype } = exported[owner]!;
    const original = prototype[method]!;
    if (vi.isMockFunction(original)) return;
    vi.spyOn(prototype, method).mockImplementation(function (this: unknown, ...args: never[]) {
      seen.push(name);
      if (name === "Machine.apply") noteApplied(args[0] as never);
      return original.apply(this, args);
    });
  }

  function noteApplied(entries: readonly GroupEntry[]): void {
    for (const { kind, data } of entries) {
      if (kind === "application" && !isLocal(data)) applied.push(decodeEntry(data));
    }
  }

  /** Expects the methods among these stops to have been called in this order, with any calls between them. */
  function inOrder(from: number, to: number): void {
    let at = -1;
    for (const { number, name } of stops) {
      if (number < from || number > to || !name.includes(".")) continue;
      const next = seen.indexOf(name, at + 1);
      expect(next, `stop ${number}, ${name}, is called after the one before`).toBeGreaterThan(at);
      at = next;
    }
  }

  function status(region: string): Promise<RegionStatus> {
    const admin = new AdminClient(world.volume.regions.get(region)!.meta[0]!, channelCredentials());
    return new Promise<RegionStatus>((resolve, reject) =>
      admin.status({ volume: "test" }, (error, answer) => (error === null ? resolve(answer) : reject(error))),
    ).finally(() => admin.close());
  }

  /** A mount without a kernel: encoded requests in, encoded answers out. */
  async function kernelOf(region: string) {
    const disk = await world.open(region);
    const fuse = session(disk.handlers);
    let unique = 1n;
    return async (opcode: Parameters<typeof request>[0], body: Buffer, node = 1n) => {
      unique += 2n;
      const own = unique;
      fuse.receive(request(opcode, body, { unique: own, node }));
      await expect.poll(() => fuse.answers.some((answer) => answer.unique === own)).toBe(true);
      const answer = fuse.answers.find((one) => one.unique === own)!;
      if (answer.errno !== 0) throw new Error(`${opcode}: errno ${answer.errno}`);
      return answer.body;
    };
  }

  test("echo hi > /mnt/aws/a, cat /mnt/gcp/a", async () => {
    const aws = await kernelOf("aws");
    const gcp = await kernelOf("gcp");
    seen.length = 0;
    const [openFlags, openBytes] = [1, 128];
    const created = await aws("CREATE", bytes(openFlags, 0o100644, 0o022, 0, "a"));
    const [node, handle] = [created.readBigUInt64LE(0), created.readBigUInt64LE(openBytes)];
    await aws("WRITE", bytes(handle, 0n, 3, 0, 0n, 0, 0, Buffer.from("hi\n")), node);
    await aws("FLUSH", bytes(handle, 0, 0, 0n), node);
    await aws("RELEASE", bytes(handle, openFlags, 0, 0n), node);
    inOrder(1, 14);

    const found = (await gcp("LOOKUP", bytes("a"))).readBigUInt64LE(0);
    expect(found).toBe(node);
    const opened = (await gcp("OPEN", bytes(0, 0), found)).readBigUInt64LE(0);
    expect(String(await gcp("READ", bytes(opened, 0n, 4096, 0, 0n, 0, 0), found))).toBe("hi\n");
    await gcp("RELEASE", bytes(opened, 0, 0, 0n), found);
    inOrder(1, 25);

    const writes = applied.filter(({ command }) => command.kind === "write");
    expect(writes.map(({ type }) => type)).toEqual(["proposed", "followed"]);
    expect(writes[0]!.command).toMatchObject({ extents: [{ kind: "inline", offset: 0 }] });
    expect(Buffer.from(writes[1]!.body).equals(Buffer.from(writes[0]!.body)), "the very same bytes").toBe(true);
    await expect.poll(async () => (await status("gcp")).stateHash).toBe((await status("aws")).stateHash);
    expect(blocksIn("aws"), "no object for so little").toEqual([]);
  });

  test("a file that is too large for the command", async () => {
    const aws = await world.open("aws");
    const gcp = await world.open("gcp");
    seen.length = 0;
    applied.length = 0;
    const data = Buffer.alloc(5_000_000, "a block and a part of one");
    await aws.write("large", data);
    const file = await gcp.open("large", O_RDONLY);
    expect((await file.read(0, data.length)).equals(data), "at once, wherever it is").toBe(true);
    await expect.poll(async () => (await status("gcp")).pendingBlocks, { timeout: 20_000 }).toBe(0);
    inOrder(26, 33);
    expect(applied.find(({ command }) => command.kind === "write")!.command).toMatchObject({
      extents: [{ kind: "slice", slice: { bytes: data.length, home: 0 } }],
    });
    expect((await status("gcp")).copiedBlocks).toBe(2);
    expect(blocksIn("aws")).toHaveLength(2);
    expect(blocksIn("gcp")).toEqual(blocksIn("aws"));
    await file.close();
  });

  function blocksIn(region: string): string[] {
    const bucket = join(world.dir, `bucket-${region}`, "test", "blocks");
    if (!existsSync(bucket)) return [];
    const all = readdirSync(bucket, { recursive: true, withFileTypes: true });
    return all
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath.slice(bucket.length), name))
      .sort();
  }
});
