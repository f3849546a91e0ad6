import { GcsError } from "./error.ts";

const PART_HEAD_BYTES_MAX = 64 << 10;

/**
 * Parses `multipart/related` with two parts: the metadata as JSON, then the bytes ("Uploads: multipart"). The bytes are
 * streamed; what could be the beginning of the last boundary is held back.
 */
export async function splitRelated(
  body: AsyncIterable<Buffer>,
  contentType: string,
): Promise<{ metadata: Record<string, unknown>; contentType: string | undefined; media: AsyncIterable<Buffer> }> {
  const boundary = /boundary="?([^";]+)"?/.exec(contentType)?.[1];
  if (boundary === undefined) throw malformed("the boundary is missing");
  const source = body[Symbol.asyncIterator]();
  let held = Buffer.alloc(0);
  const upTo = async (mark: string): Promise<string> => {
    for (;;) {
      const at = held.indexOf(mark);
      if (at >= 0) {
        const text = held.toString("utf8", 0, at);
        held = held.subarray(at + mark.length);
        return text;
      }
      const next = await source.next();
      if (next.done || held.length > PART_HEAD_BYTES_MAX) throw malformed(`"${mark.trim()}" is missing`);
      held = Buffer.concat([held, next.value]);
    }
  };
  if ((await upTo(`--${boundary}\r\n`)).trim() !== "") throw malformed("there is something before the first part");
  await upTo("\r\n\r\n");
  const json = await upTo(`\r\n--${boundary}\r\n`);
  const partHead = await upTo("\r\n\r\n");
  return {
    metadata: parseJson(json),
    contentType: /^content-type: *(.+)$/im.exec(partHead)?.[1]?.trim(),
    media: mediaOf(held, source, Buffer.from(`\r\n--${boundary}--`)),
  };
}

async function* mediaOf(begin: Buffer, source: AsyncIterator<Buffer>, end: Buffer): AsyncGenerator<Buffer> {
  let held = begin;
  for (;;) {
    const at = held.indexOf(end);
    if (at >= 0) {
      yield held.subarray(0, at);
      for (let rest = await source.next(); !rest.done; rest = await source.next()); // ignore the epilogue
      return;
    }
    const safe = held.length - end.length;
    if (safe > 0) {
      yield held.subarray(0, safe);
      held = held.subarray(safe);
    }
    const next = await source.next();
    if (next.done) throw malformed("the last boundary is missing");
    held = held.length === 0 ? next.value : Buffer.concat([held, next.value]);
  }
}

export function parseJson(text: string): Record<string, unknown> {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    throw new GcsError(400, "parseError", "Parse Error");
  }
}

function malformed(why: string): GcsError {
  return new GcsError(400, "badContent", `Malformed multipart body: ${why}.`);
}
