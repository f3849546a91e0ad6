import type { RaftHello, SnapshotFrame } from "../../proto/generated/raft.ts";
import { decodeConfiguration } from "../raft/configuration.ts";
import type { SnapshotHeader } from "./transport.ts";
import { count, position } from "./wire.ts";

export interface IncomingSnapshot {
  readonly hello: RaftHello | undefined;
  readonly header: SnapshotHeader;
  /** Throws when the stream breaks, or ends without having told that it is complete. */
  readonly parts: AsyncIterable<Uint8Array>;
}

export async function readSnapshot(frames: AsyncIterable<SnapshotFrame>): Promise<IncomingSnapshot> {
  const iterator = frames[Symbol.asyncIterator]();
  const first = await iterator.next();
  const body = first.done === true ? undefined : first.value.body;
  if (body?.$case !== "begin") throw new RangeError("a snapshot starts with its begin");
  const { hello, term, at } = body.value;
  const configuration = decodeConfiguration(count(body.value.configurationIndex), body.value.configuration);
  return { hello, header: { term: count(term), at: position(at), configuration }, parts: readParts(iterator) };
}

async function* readParts(iterator: AsyncIterator<SnapshotFrame>): AsyncGenerator<Uint8Array> {
  let parts = 0;
  let bytes = 0;
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    const { body } = next.value;
    if (body?.$case === "end") {
      if (body.value.parts !== parts || body.value.bytes !== bytes)
        throw new RangeError("parts of a snapshot are missing");
      return;
    }
    if (body?.$case !== "part") throw new RangeError("a snapshot's frame that is neither part nor end");
    parts++;
    bytes += body.value.length;
    yield body.value;
  }
  throw new RangeError("a snapshot broke off");
}
