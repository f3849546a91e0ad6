import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { LogStore } from "../../../consensus/log-store.ts";
import { Saver } from "../../../consensus/runtime/saver.ts";

/** A log whose append number `throwsAt` throws. */
function saverOn(throwsAt: number) {
  const failures: string[] = [];
  let appends = 0;
  const append: LogStore["append"] = (_hardState, _entries, done) => {
    appends += 1;
    if (appends === throwsAt) throw new Error("an entry cannot be encoded");
    setImmediate(done);
  };
  const saver = new Saver({ append } as unknown as LogStore, {
    saved: () => undefined,
    failed: ({ message }) => void failures.push(message),
  });
  return { saver, failures };
}

const save = { hardState: { term: 1, vote: 1, commit: 0 }, entries: [] };

test.each([1, 2])("an append that throws is a failed write, and is not waited for at the end: append %i", async (n) => {
  const { saver, failures } = saverOn(n);
  for (let i = 0; i < n; i++) expect(saver.add(save, [])).toEqual([]); // the second is written when the first is done
  expect(await Promise.race([saver.idle().then(() => "idle"), delay(1_000)])).toBe("idle");
  expect(failures).toEqual(["an entry cannot be encoded"]);
  expect(saver.isBusy).toBe(false);
});
