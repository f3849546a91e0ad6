import { join } from "node:path";
import { contentOf } from "./content.ts";

/** A training dataset: shards of samples. A sample's bytes are determined by its position. */
export const SHARDS = 24;
export const SAMPLES = 256;
export const SAMPLE_BYTES = 16 * 1024;
export const CHECKPOINT_BYTES = 8 * 1024 * 1024;

export function shardPath(dir: string, shard: number): string {
  return join(dir, `shard-${String(shard).padStart(3, "0")}.bin`);
}

export function shardContent(shard: number): Buffer {
  return Buffer.concat(Array.from({ length: SAMPLES }, (_, sample) => sampleContent(shard, sample)));
}

export function sampleContent(shard: number, sample: number): Buffer {
  return contentOf(`shard ${shard} sample ${sample}`, SAMPLE_BYTES);
}

export function checkpointContent(step: number): Buffer {
  return contentOf(`checkpoint ${step}`, CHECKPOINT_BYTES);
}

/** All (shard, sample) pairs in random order. */
export function shuffled(): [shard: number, sample: number][] {
  const order = Array.from({ length: SHARDS * SAMPLES }, (_, i): [number, number] => [
    Math.floor(i / SAMPLES),
    i % SAMPLES,
  ]);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
