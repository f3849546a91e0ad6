import { cp, mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ClassicLevel } from "classic-level";
import { expect, test, vi } from "vitest";
import { encodeConfiguration, firstConfiguration } from "../../../consensus/raft/configuration.ts";
import { makeEntry } from "../../../consensus/raft/entry.ts";
import { LevelLog } from "../../../meta-server/storage/level-log.ts";
import { append, entries, logConformance } from "../../consensus/log-conformance.ts";
import { emptyDisk, MemoryLog } from "../../consensus/support/memory-log.ts";

logConformance("in memory", async () => {
  const disk = emptyDisk();
  return { open: async () => new MemoryLog(disk, (run) => void setImmediate(run)), dispose: async () => undefined };
});

logConformance("on LevelDB", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-"));
  return { open: () => LevelLog.open(directory), dispose: () => rm(directory, { recursive: true }) };
});

test("an append that was acknowledged is in a copy of the directory taken at that moment; one in flight is whole or absent", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-"));
  const log = await LevelLog.open(join(directory, "log"));
  for (let i = 0; i < 5; i++) {
    await append(log, { term: 1, vote: 1, commit: 0 }, entries([1, 1, 1, 1], i * 4 + 1));
    const inFlight = append(log, { term: 1, vote: 1, commit: 0 }, entries(Array(50).fill(1), i * 4 + 5));
    const copy = join(directory, `copy-${i}`);
    await cp(join(directory, "log"), copy, { recursive: true });
    await inFlight;
    const after = await LevelLog.open(copy);
    expect([i * 4 + 4, i * 4 + 54]).toContain(after.stored.lastIndex);
    await after.close();
    await append(log, { term: 1, vote: 1, commit: 0 }, entries([1], i * 4 + 5));
    await append(log, { term: 1, vote: 1, commit: 0 }, entries([1, 1, 1, 1], i * 4 + 1));
  }
  await log.close();
  await rm(directory, { recursive: true });
});

test("a torn end of LevelDB's log loses only the last append", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-"));
  const log = await LevelLog.open(directory);
  await append(log, { term: 1, vote: 1, commit: 0 }, entries([1, 1, 1]));
  await append(log, { term: 2, vote: 1, commit: 0 }, entries([2, 2, 2], 4));
  await log.close();
  const wal = (await readdir(directory)).find((name) => name.endsWith(".log"))!;
  const { size } = await import("node:fs").then(({ statSync }) => statSync(join(directory, wal)));
  await truncate(join(directory, wal), size - 10);
  const after = await LevelLog.open(directory);
  expect(after.stored).toMatchObject({ lastIndex: 3, hardState: { term: 1 } });
  await after.close();
  await rm(directory, { recursive: true });
});

test("a log with a gap is refused", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-"));
  const log = await LevelLog.open(directory);
  await append(log, { term: 1, vote: 1, commit: 0 }, entries([1, 1, 1]));
  await append(log, { term: 1, vote: 1, commit: 0 }, entries([1, 1], 5));
  await log.close();
  await expect(LevelLog.open(directory)).rejects.toThrow(/is damaged: entry 4 is missing/);
  await rm(directory, { recursive: true });
});

test("after a failed write every later one fails with one clear line", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-"));
  const log = await LevelLog.open(directory);
  await log.close();
  await expect(append(log, { term: 1, vote: 1, commit: 0 }, entries([1]))).rejects.toThrow(
    /^the log in .* is unusable: /,
  );
  await rm(directory, { recursive: true });
});

test("a cut under way never puts an older list of configurations over that of a later append (defect 19)", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-"));
  const first = firstConfiguration([{ id: 1, address: "a:1" }]);
  const change = (index: number) => makeEntry(index, 1, "configuration", encodeConfiguration(first));
  const log = await LevelLog.open(directory);
  await log.begin(first);
  await append(log, { term: 1, vote: 1, commit: 0 }, [...entries([1]), change(2), ...entries([1], 3)]);
  // LevelDB promises no order among batches that are in flight together: here the first one takes long.
  const release = Promise.withResolvers<void>();
  const level = ClassicLevel.prototype as unknown as { batch(...args: unknown[]): Promise<void> };
  const { batch } = level;
  const spy = vi.spyOn(level, "batch").mockImplementationOnce(async function (this: unknown, ...args) {
    await release.promise;
    return await Reflect.apply(batch, this, args);
  });
  const cut = log.cut({ index: 2, term: 1 });
  const appended = append(log, { term: 1, vote: 1, commit: 0 }, [change(4)]);
  await Promise.race([appended, delay(50)]);
  release.resolve();
  await Promise.all([cut, appended]);
  expect(spy).toHaveBeenCalledTimes(2);
  spy.mockRestore();
  await log.close();
  const again = await LevelLog.open(directory);
  expect(again.stored.configurations.map(({ index }) => index)).toEqual([2, 4]);
  await again.close();
  await rm(directory, { recursive: true });
});
