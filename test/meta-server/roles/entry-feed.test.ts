import { expect, test } from "vitest";
import type { Proposed } from "../../../consensus/group.ts";
import { EntryFeed } from "../../../meta-server/roles/follower/entry-feed.ts";

/** A group with a queue of `max`, whose machine takes entry n only after entry n - 1. */
class FakeGroup {
  readonly applied: number[] = [];
  most = 0;
  readonly #max: number;
  readonly #queue: { number: number; done: (result: Proposed) => void }[] = [];
  readonly #refused: ((result: Proposed) => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  propose(data: Uint8Array, done: (result: Proposed) => void): void {
    if (this.#queue.length >= this.#max) this.#refused.push(done);
    else this.#queue.push({ number: Buffer.from(data).readUInt32BE(), done });
    this.most = Math.max(this.most, this.#queue.length);
  }

  /** Answers the refused proposals, and applies up to `count` of the others. */
  turn(count: number): void {
    for (const done of this.#refused.splice(0)) done({ ok: false, reason: "busy" });
    for (const { number, done } of this.#queue.splice(0, count)) {
      const last = this.applied.at(-1) ?? -1;
      if (number === last + 1) this.applied.push(number);
      const refusal = number > last + 1 ? "gap" : "duplicate";
      done({ ok: true, index: 0, outcome: number === last + 1 ? { taken: true } : { taken: false, refusal } });
    }
  }
}

const ENTRIES = 8_000;

function feedAll(group: FakeGroup): { events: string[]; feed: EntryFeed } {
  const events: string[] = [];
  const feed = new EntryFeed(group, {
    onFull: () => events.push("full"),
    onRoom: () => events.push("room"),
    onFailed: (reason) => events.push(reason),
  });
  for (let i = 0; i < ENTRIES; i += 1) {
    const entry = Buffer.alloc(4);
    entry.writeUInt32BE(i);
    feed.add(entry);
  }
  return { events, feed };
}

test.each([
  [4_096, 100],
  [4_096, 8_000],
  [1_000, 100],
  [1, 1],
])(
  "a frame of 8,000 entries is applied in order by a group with a queue of %i, %i at a time (defect 22)",
  (max, atOnce) => {
    const group = new FakeGroup(max);
    const { events, feed } = feedAll(group);
    expect(events).toEqual(["full"]);
    for (let turn = 0; turn < 2 * ENTRIES + 10 && group.applied.length < ENTRIES; turn += 1) {
      group.turn(atOnce);
      feed.retry();
    }
    expect(group.applied).toEqual(Array.from({ length: ENTRIES }, (_, i) => i));
    expect(group.most, "others find room in the queue").toBeLessThanOrEqual(2_048);
    expect(events).toEqual(["full", "room"]);
  },
);

test("a refused entry fails the feed, and nothing is proposed after its end", () => {
  const group = new FakeGroup(4_096);
  const { events, feed } = feedAll(group);
  group.applied.push(-10);
  group.turn(1);
  expect(events).toEqual(["full", "an entry was refused: gap"]);
  feed.close();
  group.turn(ENTRIES);
  group.turn(ENTRIES);
  feed.retry();
  expect(events).toHaveLength(2);
});
