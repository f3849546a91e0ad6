import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import pino from "pino";
import { crc32c } from "../../../base/crc32c.ts";
import type { VolumeDescription } from "../../../config/volume-description.ts";
import type { Slice } from "../../../core/commands.ts";
import { BLOCK_BYTES, type RegionIndex, type SliceId } from "../../../core/ids.ts";
import { type RunningAgent, runAgent } from "../../../mirror-agent/main.ts";
import { type Block, blocksOf } from "../../../mirror-agent/verify.ts";
import type { ObjectStore } from "../../../object-store/object-store.ts";
import { openObjectStore } from "../../../object-store/open.ts";
import { FakeMetadata } from "./metadata.ts";
import { type PrivateRedis, privateRedis } from "./redis.ts";

export const VOLUME = "vol";
export const HOME = 0 as RegionIndex;
export const OWN = 1 as RegionIndex;

/** Two regions with their buckets, and a Redis and a scripted metadata server for region "gcp", where the agents under test run. */
export class World {
  readonly directory: string;
  readonly redis: PrivateRedis;
  readonly metadata: FakeMetadata;
  readonly urls: { readonly source: string; readonly target: string };
  readonly source: ObjectStore;
  readonly target: ObjectStore;
  readonly log: string[] = [];
  readonly #agents: RunningAgent[] = [];
  readonly #children: { pid: number; ended: Promise<unknown>; kill(): void }[] = [];
  #nextSlice = 1000 + Math.floor(Math.random() * 2 ** 40);

  private constructor(directory: string, redis: PrivateRedis, urls: { source: string; target: string }) {
    this.directory = directory;
    this.redis = redis;
    this.urls = urls;
    this.source = openObjectStore(urls.source);
    this.target = openObjectStore(urls.target);
    this.metadata = new FakeMetadata({ regions: ["aws", "gcp"], own: OWN });
  }

  static async open(urls?: { source: string; target: string }): Promise<World> {
    const directory = await mkdtemp(path.join(tmpdir(), "mirrorfs-agent-"));
    for (const name of ["source", "target"]) await mkdir(path.join(directory, name));
    const files = { source: `file://${directory}/source`, target: `file://${directory}/target` };
    const world = new World(directory, await privateRedis(), urls ?? files);
    await world.metadata.start();
    return world;
  }

  async close(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    for (const child of this.#children) child.kill();
    await Promise.all(this.#children.map((child) => child.ended));
    await this.metadata.stop();
    await this.redis.kill();
    await Promise.all([this.source.close(), this.target.close()]);
    await rm(this.directory, { recursive: true, force: true });
  }

  volume(members: readonly string[] = [this.metadata.address]): VolumeDescription {
    const region = (name: string, bucket: string) => ({ name, meta: members, bucket, queue: this.redis.url });
    return {
      volume: VOLUME,
      regions: new Map([
        ["aws", region("aws", this.urls.source)],
        ["gcp", region("gcp", this.urls.target)],
      ]),
      primary: "aws",
      changelog: { retainHours: 1, retainGib: 1 },
      startAlone: "serve",
      startAloneWaitMs: 0,
      gc: { graceMs: 0 },
    };
  }

  async agent(options: { concurrency?: number; bytesPerSecond?: number; members?: readonly string[] } = {}) {
    const logger = pino({ level: "debug" }, { write: (line: string) => void this.log.push(line) });
    const { members, ...rest } = options;
    const running = await runAgent({
      volume: this.volume(members),
      region: "gcp",
      logger,
      collectIntervalMs: 200,
      ...rest,
    });
    this.#agents.push(running);
    return running;
  }

  /** Starts an agent in a process of its own, which a test can kill. */
  agentProcess(options: { concurrency?: number; bytesPerSecond?: number } = {}) {
    const description = { ...this.volume(), regions: [...this.volume().regions] };
    const child = spawn(process.execPath, [path.join(import.meta.dirname, "agent-process.ts")], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    child.stdin.end(JSON.stringify({ description, options }));
    const handle = { pid: child.pid!, ended: once(child, "exit"), kill: () => void child.kill("SIGKILL") };
    this.#children.push(handle);
    return handle;
  }

  /** Makes a slice, and stores its blocks in the source bucket. */
  async slice(bytes: number, options: { store?: boolean } = {}): Promise<Slice> {
    const content = randomBytes(bytes);
    const blocks: Buffer[] = [];
    for (let at = 0; at < bytes; at += BLOCK_BYTES) blocks.push(content.subarray(at, at + BLOCK_BYTES));
    const slice: Slice = {
      id: this.#nextSlice++ as SliceId,
      bytes,
      home: HOME,
      crc32c: blocks.map((block) => crc32c(block)),
    };
    if (options.store !== false)
      for (const block of blocksOf(VOLUME, slice))
        await this.source.create(block.key, blocks[block.index]!, { crc32c: block.crc32c });
    return slice;
  }

  async slices(count: number, bytes: number): Promise<Slice[]> {
    const slices: Slice[] = [];
    for (let n = 0; n < count; n++) slices.push(await this.slice(bytes));
    return slices;
  }

  /** Whether the target bucket holds every block of a slice, with the right bytes. */
  async arrived(slice: Slice): Promise<boolean> {
    for (const block of blocksOf(VOLUME, slice)) {
      const body = await this.target.read(block.key).catch(() => undefined);
      if (body === undefined || body.length !== block.bytes || crc32c(body) !== block.crc32c) return false;
    }
    return true;
  }

  /** Checks the promise that holds under every fault: slices reported resident have all their blocks, with the right bytes. */
  async checkResident(slices: readonly Slice[]): Promise<void> {
    for (const slice of slices)
      if (this.metadata.resident.has(slice.id) && !(await this.arrived(slice)))
        throw new Error(`slice ${slice.id} was reported resident and is not`);
  }
}

/** Damages a block of the source, a file bucket: truncates its file, or replaces it by other bytes with a matching trailer. */
export async function breakBlock(directory: string, block: Block, how: "cut" | "other bytes"): Promise<void> {
  const file = path.join(directory, "source", block.key);
  if (how === "cut") return truncate(file, Math.floor(block.bytes / 2));
  await rm(file);
  const store = openObjectStore(`file://${directory}/source`);
  const body = randomBytes(block.bytes);
  await store.create(block.key, body, { crc32c: crc32c(body) });
}
