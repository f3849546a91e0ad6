/** Replaces node:crypto by the seed's random numbers. */
import { currentWorld } from "./globals.ts";

export function randomBytes(count: number): Buffer {
  const { prng } = currentWorld();
  return Buffer.from(Array.from({ length: count }, () => prng.below(256)));
}

export function randomUUID(): string {
  const hex = randomBytes(16).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
