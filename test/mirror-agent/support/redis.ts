import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Redis } from "ioredis";
import { probeQueue } from "../../../mirror-agent/queue.ts";
import { choosePort } from "../../../sandbox/ports.ts";

/** A redis-server of the test's own, without persistence. */
export interface PrivateRedis {
  readonly url: string;
  kill(): Promise<void>;
  /** Starts it on the same port, empty. */
  start(): Promise<void>;
  flush(): Promise<void>;
  command(...words: string[]): Promise<unknown>;
}

export async function privateRedis(): Promise<PrivateRedis> {
  const port = await choosePort();
  const url = `redis://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const redis: PrivateRedis = {
    url,
    async start() {
      const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
      child = spawn("redis-server", args, { stdio: "ignore" });
      await probeQueue(url, 10_000);
    },
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
    async flush() {
      await redis.command("FLUSHALL");
    },
    async command(...words) {
      const client = new Redis(url);
      try {
        return await client.call(words[0]!, ...words.slice(1));
      } finally {
        client.disconnect();
      }
    },
  };
  await redis.start();
  return redis;
}
