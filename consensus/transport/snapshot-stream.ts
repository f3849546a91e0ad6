/** A snapshot over one gRPC stream: the sender sends parts, a few ahead; the receiver reports how many it has stored. */
import type { ClientDuplexStream, ServerDuplexStream } from "@grpc/grpc-js";
import { BadFrame } from "../../proto/frames.ts";
import type { RaftHello, SnapshotBegin, SnapshotFrame, SnapshotProgress } from "../../proto/generated/raft.ts";
import { decodeConfiguration, encodeConfiguration } from "../raft/configuration.ts";
import { type SnapshotHeader, type SnapshotIntake, SnapshotRefused, type SnapshotSource } from "./transport.ts";
import { count, position } from "./wire.ts";

/**
 * Parts (about 1 MiB each) sent but not yet stored by the receiver: bounds what a stalled receiver keeps in memory
 * here.
 */
const PARTS_AHEAD_MAX = 4;

/** Resolves once the snapshot is installed. Rejects when the stream ends before that, or the receiver refuses. */
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
  // The end also wakes a sender that waits for the start or for room: a receiver may need no part at all.
  const end = () => {
    isOver = true;
    started.resolve(-1);
    room.wake();
  };
  ended.then(end, end);
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

/** Receives one snapshot. `open` returns its intake, or undefined when it is not needed, or throws to refuse it. */
export function receiveSnapshot(
  call: ServerDuplexStream<SnapshotFrame, SnapshotProgress>,
  open: (hello: RaftHello | undefined, header: SnapshotHeader) => SnapshotIntake | undefined,
  onRefused: (error: Error) => void,
): void {
  let intake: SnapshotIntake | undefined;
  let taken = 0;
  let isRefused = false;
  let work: Promise<unknown> = Promise.resolve();
  const report = (progress: Partial<SnapshotProgress>) => {
    if (!call.writable) return;
    call.write({ refusal: "", taken, installed: false, ...progress });
  };
  const handle = async (frame: SnapshotFrame | BadFrame) => {
    if (isRefused) return; // the frames that were sent before the sender learned of it
    if (frame instanceof BadFrame) throw new RangeError(frame.line);
    const { body } = frame;
    if (body?.$case === "begin" && intake === undefined) {
      intake = open(body.value.hello, headerOf(body.value));
      taken = intake?.at ?? 0;
      report({ installed: intake === undefined });
    } else if (body?.$case === "part" && intake !== undefined) {
      await intake.take(body.value);
      taken++;
      report({});
    } else if (body?.$case === "end" && intake !== undefined) {
      await intake.finish(count(body.value.parts));
      report({ installed: true });
    } else throw new RangeError("a snapshot stream is a begin, parts and an end");
  };
  call.on("data", (frame: SnapshotFrame | BadFrame) => {
    work = work
      .then(() => handle(frame))
      .catch((error: Error) => {
        isRefused = true;
        onRefused(error);
        report({ refusal: error.message });
        disconnect();
        call.end();
      });
  });
  const disconnect = () => {
    intake?.disconnected();
    intake = undefined;
  };
  call.on("end", () => {
    disconnect();
    call.end();
  });
  call.on("error", disconnect);
  call.on("cancelled", disconnect);
}

function beginOf(hello: RaftHello, { term, at, configuration, transfer }: SnapshotHeader): SnapshotBegin {
  const encoded = encodeConfiguration(configuration) as Buffer;
  return { hello, term, at, configuration: encoded, configurationIndex: configuration.index, transfer };
}

function headerOf({ term, at, transfer, configuration, configurationIndex }: SnapshotBegin): SnapshotHeader {
  if ((at?.term ?? 0) > term)
    throw new RangeError(`a snapshot of term ${at?.term}, later than its leader's term ${term}`);
  return {
    term: count(term),
    at: position(at),
    transfer: count(transfer),
    configuration: decodeConfiguration(count(configurationIndex), configuration),
  };
}

/** An event for one waiter. A wake without a waiter ends the next wait. */
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
