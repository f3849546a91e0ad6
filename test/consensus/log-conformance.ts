import { expect, test } from "vitest";
import type { LogStore } from "../../consensus/log-store.ts";
import { encodeConfiguration, firstConfiguration } from "../../consensus/raft/configuration.ts";
import { type Entry, makeEntry } from "../../consensus/raft/entry.ts";
import type { HardState } from "../../consensus/raft/messages.ts";

/** A log on a disk that can be opened again, as after a restart. */
export interface Reopenable {
  open(): Promise<LogStore>;
  dispose(): Promise<void>;
}

type Run = (log: LogStore, reopen: () => Promise<LogStore>) => Promise<void>;
type WithLog = (title: string, run: Run) => void;

/** Tests of what every LogStore guarantees. */
export function logConformance(name: string, make: () => Promise<Reopenable>): void {
  const withLog: WithLog = (title, run) =>
    test(`${name}: ${title}`, async () => {
      const disk = await make();
      let log = await disk.open();
      const reopen = async () => {
        await log.close();
        log = await disk.open();
        return log;
      };
      try {
        await run(log, reopen);
      } finally {
        await log.close();
        await disk.dispose();
      }
    });
  appends(withLog);
  cuts(withLog);
  configurations(withLog);
  sequences(withLog);
}

/** Appends and reads, before and after a restart. */
function appends(withLog: WithLog): void {
  withLog("a new log is empty", async (log) => {
    expect(log.stored).toEqual({
      hardState: { term: 0, vote: 0, commit: 0 },
      base: { index: 0, term: 0 },
      lastIndex: 0,
      termStarts: [],
      restoring: undefined,
      configurations: [],
    });
    expect(await log.read(1, 10, 100)).toEqual([]);
  });

  withLog("appended entries survive a restart", async (log, reopen) => {
    await append(log, { term: 3, vote: 2, commit: 1 }, entries([1, 1, 3]));
    await append(log, { term: 3, vote: 2, commit: 2 }, entries([3], 4));
    const again = await reopen();
    expect(again.stored.hardState).toEqual({ term: 3, vote: 2, commit: 2 });
    expect(again.stored.lastIndex).toBe(4);
    expect(again.stored.termStarts).toEqual([
      { term: 1, index: 1 },
      { term: 3, index: 3 },
    ]);
    expect(plain(await again.read(1, 4, 1 << 20))).toEqual(plain(entries([1, 1, 3, 3])));
  });

  withLog("an append of the hard state alone keeps the entries", async (log, reopen) => {
    await append(log, { term: 1, vote: 1, commit: 0 }, entries([1, 1]));
    await append(log, { term: 2, vote: 0, commit: 0 }, []);
    const again = await reopen();
    expect(again.stored).toMatchObject({ lastIndex: 2, hardState: { term: 2, vote: 0 } });
  });

  withLog("an append replaces everything from its first index on", async (log, reopen) => {
    await append(log, { term: 2, vote: 0, commit: 0 }, entries([1, 1, 2, 2, 2, 2]));
    await append(log, { term: 3, vote: 0, commit: 0 }, entries([3], 3));
    const again = await reopen();
    expect(again.stored.lastIndex).toBe(3);
    expect(again.stored.termStarts).toEqual([
      { term: 1, index: 1 },
      { term: 3, index: 3 },
    ]);
    expect((await again.read(1, 100, 1 << 20)).map(({ term }) => term)).toEqual([1, 1, 3]);
  });

  withLog("a read stops at `through` and near bytesMax, but returns at least one entry", async (log) => {
    await append(log, { term: 1, vote: 0, commit: 0 }, entries(Array(50).fill(1)));
    const size = entries([1])[0]!.encoded.length;
    expect((await log.read(10, 20, 1 << 20)).map(({ index }) => index)).toEqual(range(10, 20));
    expect(await log.read(10, 50, size * 5)).toHaveLength(5);
    expect(await log.read(10, 50, 1)).toHaveLength(1);
    expect(await log.read(51, 60, 100)).toEqual([]);
  });
}

/** Removal of entries at the front, by a cut or a snapshot. */
function cuts(withLog: WithLog): void {
  withLog("a cut removes the front for good", async (log, reopen) => {
    await append(log, { term: 5, vote: 0, commit: 6 }, entries([1, 1, 2, 2, 5, 5]));
    await log.cut({ index: 3, term: 2 });
    expect(await log.read(3, 6, 1 << 20)).toEqual([]);
    expect((await log.read(4, 6, 1 << 20)).map(({ index }) => index)).toEqual([4, 5, 6]);
    const again = await reopen();
    expect(again.stored).toMatchObject({ base: { index: 3, term: 2 }, lastIndex: 6 });
    expect(again.stored.termStarts).toEqual([
      { term: 2, index: 4 },
      { term: 5, index: 5 },
    ]);
    await append(again, { term: 5, vote: 0, commit: 6 }, entries([5], 7));
    await again.cut({ index: 7, term: 5 });
    const third = await reopen();
    expect(third.stored).toMatchObject({ base: { index: 7, term: 5 }, lastIndex: 7, termStarts: [] });
    await append(third, { term: 5, vote: 0, commit: 7 }, entries([5], 8));
    expect((await reopen()).stored).toMatchObject({ lastIndex: 8, termStarts: [{ term: 5, index: 8 }] });
  });

  withLog("after a snapshot the log continues from it, whatever it held", async (log, reopen) => {
    await append(log, { term: 2, vote: 0, commit: 1 }, entries([1, 1, 2, 2]));
    await log.markRestoring({ index: 3, term: 7 });
    expect((await reopen()).stored.restoring).toEqual({ index: 3, term: 7 });
    const again = await reopen();
    await again.reset({ index: 3, term: 7 });
    const third = await reopen();
    expect(third.stored).toMatchObject({ base: { index: 3, term: 7 }, lastIndex: 3, termStarts: [] });
    expect(third.stored.restoring).toBeUndefined();
    await append(third, { term: 7, vote: 0, commit: 3 }, entries([7], 4));
    expect((await third.read(4, 4, 1000)).map(({ term }) => term)).toEqual([7]);
  });

  withLog("an abandoned restore leaves the log unchanged", async (log, reopen) => {
    await append(log, { term: 1, vote: 0, commit: 1 }, entries([1, 1]));
    await log.markRestoring({ index: 9, term: 7 });
    await log.markRestoring(undefined);
    expect((await reopen()).stored).toMatchObject({ restoring: undefined, lastIndex: 2 });
  });
}

function configurations(withLog: WithLog): void {
  withLog(
    "the configurations are known without reading entries: after a rollback, a cut and a snapshot",
    async (log, reopen) => {
      const first = firstConfiguration([{ id: 1, address: "a:1" }]);
      const indexes = async () => (await reopen()).stored.configurations.map(({ index }) => index);
      const change = (index: number, term: number) =>
        makeEntry(index, term, "configuration", encodeConfiguration(first));
      await log.begin(first);
      await append(log, { term: 1, vote: 0, commit: 0 }, [...entries([1, 1]), change(3, 1), ...entries([1], 4)]);
      await append(await reopen(), { term: 1, vote: 0, commit: 0 }, [change(5, 1), change(6, 1)]);
      expect(await indexes()).toEqual([0, 3, 5, 6]);
      await append(await reopen(), { term: 2, vote: 0, commit: 0 }, entries([2], 6));
      expect(await indexes()).toEqual([0, 3, 5]);
      await (await reopen()).cut({ index: 4, term: 1 });
      expect(await indexes()).toEqual([3, 5]); // the one in effect at the base, and the later ones
      const latest = (await reopen()).stored.configurations.at(-1);
      expect(latest).toEqual({ ...first, index: 5 });
      await (await reopen()).reset({ index: 9, term: 2, configuration: { ...first, index: 8 } });
      expect(await indexes()).toEqual([8]);
    },
  );
}

function sequences(withLog: WithLog): void {
  withLog("a random sequence of appends, cuts and restarts reads like a list", async (first, reopen) => {
    let log = first;
    let list: Entry[] = [];
    let base = 0;
    let random = 12345;
    const next = (n: number) => {
      random = (random * 1103515245 + 12345) % 2147483648;
      return Math.floor((random / 2147483648) * n);
    };
    for (let term = 1; term <= 120; term++) {
      const from = Math.max(base + 1, base + list.length + 1 - next(6));
      const added = entries(Array(1 + next(8)).fill(term), from);
      list = [...list.slice(0, from - base - 1), ...added];
      await append(log, { term, vote: 0, commit: 0 }, added);
      if (next(4) === 0) {
        const cutting = next(list.length);
        if (cutting > 0) await log.cut(list[cutting - 1]!);
        base += cutting;
        list = list.slice(cutting);
      }
      if (next(6) === 0) {
        log = await reopen();
        const starts = list.filter(({ term: own }, i) => own !== list[i - 1]?.term);
        expect(log.stored.termStarts).toEqual(starts.map(({ term: own, index }) => ({ term: own, index })));
      }
      expect(plain(await log.read(base + 1, base + 1000, 1 << 20))).toEqual(plain(list));
    }
  });
}

export function append(log: LogStore, hardState: HardState, list: readonly Entry[]): Promise<void> {
  return new Promise((resolve, reject) =>
    log.append(hardState, list, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

export function entries(terms: readonly number[], first = 1): Entry[] {
  return terms.map((term, i) => makeEntry(first + i, term, "application", Buffer.from(`entry ${first + i}@${term}`)));
}

function range(from: number, through: number): number[] {
  return Array.from({ length: through - from + 1 }, (_, i) => from + i);
}

/** Comparable, whatever kind of byte array the entries are in. */
function plain(list: readonly Entry[]): string[] {
  return list.map(
    ({ index, term, kind, data, encoded }) =>
      `${index} ${term} ${kind} ${Buffer.from(data).toString("latin1")} ${Buffer.from(encoded).toString("hex")}`,
  );
}
