/** A snapshot's way over one stream: parts go, a few ahead, and the numbers of those that were put away come back. */
import type { ClientDuplexStream, ServerDuplexStream } from "@grpc/grpc-js";
import { BadFrame } from "../../proto/frames.ts";
import type { RaftHello, SnapshotBegin, SnapshotFrame, SnapshotProgress } from "../../proto/generated/raft.ts";
import { decodeConfiguration, encodeConfiguration } from "../raft/configuration.ts";
import { type SnapshotHeader, type SnapshotIntake, SnapshotRefused, type SnapshotSource } from "./transport.ts";
import { count, position } from "./wire.ts";

/** Of about 1 MiB: what a receiver that has stopped may hold up here. */
const PARTS_AHEAD_MAX = 4;

/** Resolves once it is in place; rejects when the stream ends before, or the receiver refuses. */
export async function sendSnapshot(
  call: ClientDuplexStream<SnapshotFrame, SnapshotProgress>,
  hello: RaftHello,
  source: SnapshotSource,
): Promise<void> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  ended.catch(() => undefined);
  const started = Promise.withResolvers<number>();
  const room = new Signal();
  let taken = -1;
  let isOver = false;
  call.on("data", (progress: SnapshotProgress) => {
    if (progress.refusal !== "") return reject(new SnapshotRefused(progress.refusal));
    if (progress.installed) return resolve();
    taken = progress.taken;
    source.taken(taken);
    started.resolve(taken);
    room.wake();
  });
  call.on("error", () => undefined); // "status" follows
  call.on("status", ({ details }) => reject(new Error(details === "" ? "the stream ended early" : details)));
  // Also at once, and all of it: a receiver that has it already says so before it is sent a part.
  const over = () => {
    isOver = true;
    started.resolve(-1);
    room.wake();
  };
  ended.then(over, over);
  try {
    call.write({ body: { $case: "begin", value: beginOf(hello, source.header) } });
    const from = await started.promise;
    let sent = from;
    if (!isOver) {
      for await (const part of source.parts(from)) {
        while (sent - taken >= PARTS_AHEAD_MAX && !isOver) await room.wait();
        if (isOver) break;
        call.write({ body: { $case: "part", value: part as Buffer } });
        sent++;
      }
    }
    if (!isOver) call.write({ body: { $case: "end", value: { parts: sent } } });
    await ended;
    call.end();
  } catch (error) {
    call.cancel();
    throw error;
  }
}

/** Takes one snapshot from a stream; `open` says who takes it, throws to refuse, or says that it is not needed. */
export function takeSnapshot(
  call: ServerDuplexStream<SnapshotFrame, SnapshotProgress>,
  open: (hello: RaftHello | undefined, header: SnapshotHeader) => SnapshotIntake | undefined,
  onRefused: (error: Error) => void,
): void {
  let intake: SnapshotIntake | undefined;
  let taken = 0;
  let work: Promise<unknown> = Promise.resolve();
  const say = (progress: Partial<SnapshotProgress>) => {
    if (!call.writable) return;
    call.write({ refusal: "", taken, installed: false, ...progress });
  };
  const handle = async (frame: SnapshotFrame | BadFrame) => {
    if (frame instanceof BadFrame) throw new RangeError(frame.line);
    const { body } = frame;
    if (body?.$case === "begin" && intake === undefined) {
      intake = open(body.value.hello, headerOf(body.value));
      taken = intake?.at ?? 0;
      say({ installed: intake === undefined });
    } else if (body?.$case === "part" && intake !== undefined) {
      await intake.take(body.value);
      taken++;
      say({});
    } else if (body?.$case === "end" && intake !== undefined) {
      await intake.finish(count(body.value.parts));
      say({ installed: true });
    } else throw new RangeError("a snapshot's stream is its begin, parts and its end");
  };
  call.on("data", (frame: SnapshotFrame | BadFrame) => {
    work = work
      .then(() => handle(frame))
      .catch((error: Error) => {
        onRefused(error);
        say({ refusal: error.message });
        broke();
        call.end();
      });
  });
  const broke = () => {
    intake?.broke();
    intake = undefined;
  };
  call.on("end", () => {
    broke();
    call.end();
  });
  call.on("error", broke);
  call.on("cancelled", broke);
}

function beginOf(hello: RaftHello, { term, at, configuration, transfer }: SnapshotHeader): SnapshotBegin {
  const encoded = encodeConfiguration(configuration) as Buffer;
  return { hello, term, at, configuration: encoded, configurationIndex: configuration.index, transfer };
}

function headerOf({ term, at, transfer, configuration, configurationIndex }: SnapshotBegin): SnapshotHeader {
  if ((at?.term ?? 0) > term) throw new RangeError(`a snapshot of a later term than ${term}, its leader's`);
  return {
    term: count(term),
    at: position(at),
    transfer: count(transfer),
    configuration: decodeConfiguration(count(configurationIndex), configuration),
  };
}

/** Wakes the one that waits; a wake that nobody waited for is remembered. */
class Signal {
  #isSet = false;
  #waiter: (() => void) | undefined;

  wake(): void {
    this.#isSet = true;
    this.#waiter?.();
  }

  async wait(): Promise<void> {
    if (!this.#isSet)
      await new Promise<void>((resolve) => {
        this.#waiter = resolve;
      });
    this.#isSet = false;
  }
}
