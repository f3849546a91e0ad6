import fc from "fast-check";
import { expect, test } from "vitest";
import { type DirtyRun, joinRuns, writeIntoRuns } from "../../../../client/volume/filesystem/dirty-run.ts";
import { BLOCK_BYTES, CHUNK_BYTES } from "../../../../core/ids.ts";

/** Writes around the ends of a block and of a chunk, where runs are cut. */
const EDGES = [0, 10, 4096, BLOCK_BYTES - 5, BLOCK_BYTES, CHUNK_BYTES - 7, CHUNK_BYTES, CHUNK_BYTES + BLOCK_BYTES - 3];
const write = fc.record({
  edge: fc.constantFrom(...EDGES),
  shift: fc.integer({ min: 0, max: 40 }),
  length: fc.integer({ min: 1, max: 60 }),
  freeze: fc.boolean(),
});

/** The bytes that the runs hold around these ends, one after the other; -1: none. */
function contents(runs: readonly DirtyRun[]): number[] {
  return EDGES.flatMap((edge) => {
    const bytes = new Uint8Array(128);
    const known = new Uint8Array(128);
    for (const run of runs) {
      run.overlay(bytes, edge);
      for (let at = 0; at < 128; at++) if (run.overlaps(edge + at, 1)) known[at] = 1;
    }
    return [...bytes].map((byte, at) => (known[at] ? byte : -1));
  });
}

test("runs hold the last byte written at each offset, and no run crosses a chunk", () => {
  fc.assert(
    fc.property(fc.array(write, { minLength: 1, maxLength: 30 }), (writes) => {
      const runs: DirtyRun[] = [];
      const model = new Map<number, number>();
      let added = 0;
      for (const [index, { edge, shift, length, freeze }] of writes.entries()) {
        const value = (index + 1) % 256;
        added += writeIntoRuns(runs, edge + shift, new Uint8Array(length).fill(value));
        for (let at = 0; at < length; at++) model.set(edge + shift + at, value);
        // A block that is being stored is immutable: later bytes must go into other runs.
        if (freeze) for (const run of runs) run.freeze(run.fullBlocks);
      }
      const expected = EDGES.flatMap((edge) => Array.from({ length: 128 }, (_, at) => model.get(edge + at) ?? -1));
      expect(runs.reduce((sum, run) => sum + run.bufferBytes, 0)).toBe(added);
      expect(contents(runs)).toEqual(expected);
      expect(contents(joinRuns(runs))).toEqual(expected);
      for (const run of runs) expect(Math.floor((run.end - 1) / CHUNK_BYTES)).toBe(run.chunk);
    }),
    { numRuns: 150 },
  );
});

test("a file that is written sequentially has one run in each chunk", () => {
  const runs: DirtyRun[] = [];
  const data = new Uint8Array(1024 * 1024);
  for (let offset = 0; offset < CHUNK_BYTES + 3 * data.length; offset += data.length) writeIntoRuns(runs, offset, data);
  expect(runs.map(({ offset, length }) => [offset, length])).toEqual([
    [0, CHUNK_BYTES],
    [CHUNK_BYTES, 3 * data.length],
  ]);
  expect(runs[0]!.chunkIsFull).toBe(true);
});

test("blocks that are being stored are not changed", () => {
  const runs: DirtyRun[] = [];
  writeIntoRuns(runs, 0, new Uint8Array(BLOCK_BYTES + 10).fill(1));
  runs[0]!.freeze(1);
  writeIntoRuns(runs, 100, new Uint8Array(5).fill(2));
  writeIntoRuns(runs, BLOCK_BYTES + 10, new Uint8Array(5).fill(3));
  expect(runs.map(({ offset, length }) => [offset, length])).toEqual([
    [0, BLOCK_BYTES + 15],
    [100, 5],
  ]);
  expect(runs[0]!.block(0)[100]).toBe(1);
});

test("adjacent and overlapping runs are joined, others are not", () => {
  const runs: DirtyRun[] = [];
  for (const offset of [8192, 4096, 0, 40_960]) writeIntoRuns(runs, offset, new Uint8Array(4096).fill(offset / 4096));
  const joined = joinRuns(runs);
  expect(joined.map(({ offset, length }) => [offset, length])).toEqual([
    [0, 12_288],
    [40_960, 4096],
  ]);
  expect([joined[0]!.bytes()[0], joined[0]!.bytes()[4096], joined[0]!.bytes()[8192]]).toEqual([0, 1, 2]);
});
