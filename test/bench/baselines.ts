import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, type MethodDefinition } from "@grpc/grpc-js";
import { ClassicLevel } from "classic-level";
import { ROOT } from "../rules/source-files.ts";
import { AT_ONCE, atOnce, oneAtATime } from "./load.ts";
import { percentile } from "./row.ts";

/** About the size of a create in the log and on the wire. */
const RECORD_BYTES = 200;
const BASELINE_MS = 3_000;

const identity = (bytes: Buffer) => bytes;

/** A bidirectional stream of bare bytes. */
export const ECHO: MethodDefinition<Buffer, Buffer> = {
  path: "/bench.Echo/echo",
  requestStream: true,
  responseStream: true,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
};

export interface Baseline {
  /** With 64 requests in flight. */
  readonly perSecond: number;
  /** With one request at a time. */
  readonly p50Ms: number;
}

/** The disk's own cost of durability: appends 4 KiB and syncs. */
export function fdatasyncMs(): number {
  return inScratch((directory) => {
    const file = openSync(join(directory, "file"), "w");
    const times = Array.from({ length: 300 }, () => {
      const startedMs = performance.now();
      writeSync(file, Buffer.alloc(4096));
      fdatasyncSync(file);
      return performance.now() - startedMs;
    });
    closeSync(file);
    return percentile(times, 0.5);
  });
}

/** Writes records of a create's size to LevelDB; all that are waiting go into one `sync: true` batch. */
export async function levelSync(): Promise<Baseline> {
  return await inScratch(async (directory) => {
    const level = new ClassicLevel<Buffer, Buffer>(directory, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      compression: false,
    });
    await level.open();
    let waiting: (() => void)[] = [];
    let writing = false;
    let key = 0;
    const write = async () => {
      writing = true;
      while (waiting.length > 0) {
        const done = waiting;
        waiting = [];
        const puts = done.map(() => ({ type: "put" as const, key: keyOf(key++), value: randomBytes(RECORD_BYTES) }));
        await level.batch(puts, { sync: true });
        for (const one of done) one();
      }
      writing = false;
    };
    const put = () =>
      new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (!writing) void write();
      });
    const measured = await both(put);
    await level.close();
    return measured;
  });
}

function keyOf(index: number): Buffer {
  const key = Buffer.alloc(8);
  key.writeUIntBE(index, 2, 6);
  return key;
}

/** A bare gRPC stream to an echo server in another process, one message per request. */
export async function echo(): Promise<Baseline> {
  const server = fork(join(ROOT, "test/bench/echo-server.ts"));
  const [port] = (await once(server, "message")) as [number];
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(ECHO.path, ECHO.requestSerialize, ECHO.responseDeserialize);
  const waiting: (() => void)[] = [];
  stream.on("data", () => waiting.shift()!());
  stream.on("error", () => {});
  const message = randomBytes(RECORD_BYTES);
  const measured = await both(() => {
    stream.write(message);
    return new Promise<void>((resolve) => waiting.push(resolve));
  });
  stream.cancel();
  client.close();
  server.disconnect();
  return measured;
}

async function both(one: () => Promise<void>): Promise<Baseline> {
  const p50Ms = percentile(await oneAtATime(one), 0.5);
  return { p50Ms, perSecond: await atOnce(AT_ONCE, BASELINE_MS, one) };
}

function inScratch<T>(use: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "mirrorfs-baseline-"));
  const remove = () => rmSync(directory, { recursive: true });
  const used = use(directory);
  if (used instanceof Promise) return used.finally(remove) as T;
  remove();
  return used;
}
