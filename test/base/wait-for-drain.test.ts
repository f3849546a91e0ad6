import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { waitForDrain } from "../../base/wait-for-drain.ts";

test.each(["drain", "close"])("resolves at %s, and leaves no listener behind", async (event) => {
  const stream = new EventEmitter();
  const waiting = waitForDrain(stream);
  stream.emit(event);
  await waiting;
  expect(stream.eventNames()).toEqual([]);
});
