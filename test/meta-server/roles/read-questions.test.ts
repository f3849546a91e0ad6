import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { EpochCode, Sequence, Version } from "../../../core/ids.ts";
import { ReadQuestions } from "../../../meta-server/roles/follower/read-questions.ts";

const COMMITTED: Version = { epoch: 16 as EpochCode, sequence: 7 as Sequence };

let sent: number[];
let isOpen: boolean;
let heardMs: number;
let questions: ReadQuestions;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setImmediate", "clearImmediate", "performance"] });
  sent = [];
  isOpen = true;
  heardMs = performance.now();
  const send = (number: number) => {
    if (isOpen) sent.push(number);
    return isOpen;
  };
  questions = new ReadQuestions(send, () => performance.now() - heardMs);
});

afterEach(() => {
  questions.close();
  vi.useRealTimers();
});

function ask(): { answer: Version | "unreachable" | undefined } {
  const read: ReturnType<typeof ask> = { answer: undefined };
  questions.ask((committed) => {
    read.answer = committed ?? "unreachable";
  });
  vi.advanceTimersByTime(1);
  return read;
}

function answerLast(): void {
  heardMs = performance.now();
  questions.answered(sent.at(-1)!, COMMITTED);
}

test("reads wait through an election at the primary (defect 23)", () => {
  const before = ask();
  isOpen = false;
  questions.lost();
  vi.advanceTimersByTime(3_000);
  const during = ask();
  vi.advanceTimersByTime(1_000);
  expect([before.answer, during.answer]).toEqual([undefined, undefined]);
  isOpen = true;
  questions.resume();
  vi.advanceTimersByTime(1);
  answerLast();
  expect([before.answer, during.answer]).toEqual([COMMITTED, COMMITTED]);
});

test("after 5 s without an answer no read waits, until the primary answers again (defect 23)", () => {
  const first = ask();
  vi.advanceTimersByTime(4_000);
  const second = ask();
  expect([first.answer, second.answer]).toEqual([undefined, undefined]);
  vi.advanceTimersByTime(1_100);
  expect([first.answer, second.answer], "none waits for longer than the first").toEqual(["unreachable", "unreachable"]);
  heardMs = performance.now(); // a primary that is sealed sends heartbeats and does not answer
  expect(ask().answer).toBe("unreachable");
  vi.advanceTimersByTime(20_000);
  heardMs = performance.now();
  expect(ask().answer).toBe("unreachable");
  expect(sent.length, "the primary is asked on").toBeGreaterThan(10);
  expect(sent.length).toBeLessThan(100);
  answerLast();
  const again = ask();
  expect(again.answer).toBeUndefined();
  answerLast();
  expect(again.answer).toEqual(COMMITTED);
});

test("a primary from which nothing has arrived for 5 s is not waited for (defect 23)", () => {
  isOpen = false;
  heardMs = performance.now() - 5_001;
  expect(ask().answer).toBe("unreachable");
});

test("a question that the primary did not answer is asked again (defect 23)", () => {
  const read = ask();
  expect(sent).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  expect(sent.length).toBeGreaterThan(1);
  answerLast();
  expect(read.answer).toEqual(COMMITTED);
});
