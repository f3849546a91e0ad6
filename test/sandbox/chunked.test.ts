import { createHash, createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { decodeChunked } from "../../sandbox/s3/chunked.ts";
import type { Signed } from "../../sandbox/s3/signature.ts";

/** The example of the S3 API Reference: "Transferring Payload in Multiple Chunks". */
const secret = "AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();
const key = ["20130524", "us-east-1", "s3", "aws4_request"].reduce<string | Buffer>(hmac, secret) as Buffer;
const signed: Signed = {
  key,
  scope: "20130524/us-east-1/s3/aws4_request",
  amzDate: "20130524T000000Z",
  signature: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
};
const chunks = [
  [65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"],
  [1_024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"],
  [0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"],
] as const;

function encoded(change: (chunk: Buffer, index: number) => Buffer = (chunk) => chunk): Buffer {
  const parts = chunks.map(([bytes, signature], i) => {
    const head = `${bytes.toString(16)};chunk-signature=${signature}\r\n`;
    return Buffer.concat([Buffer.from(head), change(Buffer.alloc(bytes, "a"), i), Buffer.from("\r\n")]);
  });
  return Buffer.concat(parts);
}

async function decode(body: Buffer, how: Signed, pieceBytes: number) {
  async function* pieces() {
    for (let at = 0; at < body.length; at += pieceBytes) yield body.subarray(at, at + pieceBytes);
  }
  const trailers: [string, string][] = [];
  const out: Buffer[] = [];
  for await (const piece of decodeChunked(pieces(), how, (...trailer) => trailers.push(trailer))) out.push(piece);
  return { body: Buffer.concat(out), trailers };
}

test.each([1, 7, 1_000, 100_000])("AWS's own example is decoded, in pieces of %i bytes", async (pieceBytes) => {
  const { body } = await decode(encoded(), signed, pieceBytes);
  expect(body.equals(Buffer.alloc(66_560, "a"))).toBe(true);
});

test("a changed byte in a signed chunk is refused", async () => {
  const changed = encoded((chunk, i) => (i === 1 ? Buffer.from(chunk).fill("b", 10, 11) : chunk));
  await expect(decode(changed, signed, 5_000)).rejects.toMatchObject({ code: "SignatureDoesNotMatch" });
});

test("a body that ends inside a chunk is refused", async () => {
  await expect(decode(encoded().subarray(0, 40_000), signed, 5_000)).rejects.toMatchObject({ code: "IncompleteBody" });
});

test("a signed trailer is verified and passed on", async () => {
  const trailer = "x-amz-checksum-crc32c:sOO8/Q==";
  const hash = (text: string) => createHash("sha256").update(text).digest("hex");
  const sign = (previous: string, what: string, ...hashes: string[]) =>
    hmac(key, [`AWS4-HMAC-SHA256-${what}`, signed.amzDate, signed.scope, previous, ...hashes].join("\n")).toString(
      "hex",
    );
  const first = sign(signed.signature, "PAYLOAD", hash(""), hash("hello"));
  const last = sign(first, "PAYLOAD", hash(""), hash(""));
  const end = sign(last, "TRAILER", hash(`${trailer}\n`));
  const text = (signature: string) =>
    Buffer.from(
      `5;chunk-signature=${first}\r\nhello\r\n0;chunk-signature=${last}\r\n${trailer}\r\nx-amz-trailer-signature:${signature}\r\n\r\n`,
    );
  const how = { ...signed, payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" };
  const { body, trailers } = await decode(text(end), how, 9);
  expect(body.toString()).toBe("hello");
  expect(trailers).toEqual([["x-amz-checksum-crc32c", "sOO8/Q=="]]);
  await expect(decode(text(first), how, 9)).rejects.toMatchObject({ code: "SignatureDoesNotMatch" });
});

test("an unsigned trailer is passed on", async () => {
  const how = { ...signed, payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER" };
  const { body, trailers } = await decode(Buffer.from("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c: a\r\n\r\n"), how, 3);
  expect(body.toString()).toBe("hello");
  expect(trailers).toEqual([["x-amz-checksum-crc32c", "a"]]);
});
