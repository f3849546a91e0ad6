import { expect, test } from "vitest";
import type { Inode } from "../../../core/ids.ts";
import { orphanKey } from "../../../core/keys.ts";
import type { Turn } from "../../../meta-server/machine/machine.ts";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { Reaper } from "../../../meta-server/services/metadata/reaper.ts";

test("the inodes without links are unknown until they have been read, and again after a flip (defect 15)", async () => {
  const listeners: ((turn: Turn) => void)[] = [];
  const reads: PromiseWithResolvers<void>[] = [];
  const pages = async function* () {
    const read = Promise.withResolvers<void>();
    reads.push(read);
    await read.promise;
    yield [[orphanKey(7 as Inode), Buffer.alloc(0)]];
  };
  const machine = { view: { pages }, onTurn: (listener: (turn: Turn) => void) => listeners.push(listener) };
  const reaper = new Reaper({ machine, isServing: () => false } as unknown as ServerContext, () => true);
  const known = () => reaper.orphans && [...reaper.orphans];
  expect(known(), "nothing has been read").toBeUndefined();
  const first = reaper.findOrphans();
  expect(known(), "it is being read").toBeUndefined();
  const second = reaper.findOrphans();
  reads[0]!.resolve();
  await first;
  expect(known(), "of a state that may have been replaced").toBeUndefined();
  reads[1]!.resolve();
  await second;
  expect(known()).toEqual([7]);
  for (const listener of listeners) listener({ effects: [], flipped: true } as unknown as Turn);
  expect(known(), "after a flip").toBeUndefined();
  reaper.close();
});
