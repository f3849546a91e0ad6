import { createHash } from "node:crypto";
import { crc32 } from "@node-rs/crc32";
import { crc32c } from "../base/crc32c.ts";

export type Algorithm = "crc32c" | "crc32" | "sha1" | "sha256" | "md5";

interface Running {
  update(bytes: Buffer): void;
  /** @returns the checksum in base64, as both services encode it. */
  digest(): string;
}

function runningCrc(step: (bytes: Buffer, before: number) => number): Running {
  let crc = 0;
  return {
    update: (bytes) => {
      crc = step(bytes, crc) >>> 0;
    },
    digest: () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(crc);
      return bytes.toString("base64");
    },
  };
}

function runningHash(name: string): Running {
  const hash = createHash(name);
  return { update: (bytes) => hash.update(bytes), digest: () => hash.digest("base64") };
}

const START: { [A in Algorithm]: () => Running } = {
  crc32c: () => runningCrc(crc32c),
  crc32: () => runningCrc(crc32),
  sha1: () => runningHash("sha1"),
  sha256: () => runningHash("sha256"),
  md5: () => runningHash("md5"),
};

export function isAlgorithm(name: string): name is Algorithm {
  return Object.hasOwn(START, name);
}

/** Passes a body through and computes its checksums. `sums()` is empty until the body has been consumed. */
export function summing(
  body: AsyncIterable<Buffer>,
  algorithms: Iterable<Algorithm>,
): { body: AsyncIterable<Buffer>; sums: () => Partial<Record<Algorithm, string>> } {
  const running = new Map([...new Set(algorithms)].map((algorithm) => [algorithm, START[algorithm]()]));
  let sums: Partial<Record<Algorithm, string>> = {};
  async function* pass() {
    for await (const piece of body) {
      for (const sum of running.values()) sum.update(piece);
      yield piece;
    }
    sums = Object.fromEntries([...running].map(([algorithm, sum]) => [algorithm, sum.digest()]));
  }
  return { body: pass(), sums: () => sums };
}
