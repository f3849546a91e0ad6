import { createHash, randomUUID } from "node:crypto";
import { XMLParser } from "fast-xml-parser";
import { type Attributes, concatenated, type ObjectDirectory, type Upload } from "../object-directory.ts";
import { S3Error, xml } from "./error.ts";
import { attributesOf, type ObjectRequest, preconditionFailed, writeCondition } from "./objects.ts";
import { receivePayload, receiveText } from "./payload.ts";

const PART_BYTES_MIN = 5 << 20;

interface Part {
  readonly upload: Upload;
  readonly etag: string;
}

interface Multipart {
  readonly key: string;
  readonly attributes: Omit<Attributes, "checksums">;
  readonly parts: Map<number, Part>;
}

/** The unfinished multipart uploads of one bucket. They are lost when the server stops. */
export class Multiparts {
  readonly #directory: ObjectDirectory;
  readonly #open = new Map<string, Multipart>();

  constructor(directory: ObjectDirectory) {
    this.#directory = directory;
  }

  begin({ exchange, key }: ObjectRequest, bucket: string): void {
    const id = randomUUID();
    this.#open.set(id, { key, attributes: attributesOf(exchange.request.headers), parts: new Map() });
    const text = xml("InitiateMultipartUploadResult", { Bucket: bucket, Key: key, UploadId: id });
    exchange.response.writeHead(200, { "Content-Type": "application/xml" }).end(text);
  }

  async putPart({ exchange, signed, key }: ObjectRequest): Promise<void> {
    const multipart = this.#find(exchange.url, key);
    const number = Number(exchange.url.searchParams.get("partNumber"));
    if (!(number >= 1 && number <= 10_000)) {
      throw new S3Error(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
    }
    const { upload } = await receivePayload(exchange, signed, this.#directory);
    const before = multipart.parts.get(number);
    if (before !== undefined) await this.#directory.discard(before.upload);
    const etag = randomUUID().replaceAll("-", "");
    multipart.parts.set(number, { upload, etag });
    exchange.response.writeHead(200, { ETag: `"${etag}"` }).end();
  }

  async complete(request: ObjectRequest, bucket: string): Promise<void> {
    const { exchange, signed, key } = request;
    const multipart = this.#find(exchange.url, key);
    const named = namedParts(await receiveText(exchange, signed));
    const parts = named.map(({ number, etag }, index) => {
      const part = multipart.parts.get(number);
      if (part === undefined || part.etag !== etag)
        throw new S3Error(400, "InvalidPart", `Part ${number} was not uploaded with this ETag`);
      if (index > 0 && number <= named[index - 1]!.number)
        throw new S3Error(400, "InvalidPartOrder", "The parts are not in order");
      const small = part.upload.bytes < PART_BYTES_MIN && index < named.length - 1;
      if (small) throw new S3Error(400, "EntityTooSmall", "A part is smaller than the minimum allowed size");
      return part;
    });
    const condition = writeCondition(exchange.request.headers);
    condition.check(this.#directory.find(key));
    const upload = await this.#directory.receive(concatenated(parts.map((part) => part.upload)));
    const hash = createHash("md5")
      .update(parts.map((part) => part.etag).join())
      .digest("hex");
    const attributes = { ...multipart.attributes, checksums: {}, etag: `${hash}-${parts.length}` };
    const stored = await this.#directory.commit(upload, key, attributes, condition.allows);
    if (stored === undefined) throw preconditionFailed("If-None-Match");
    await this.#drop(exchange.url);
    const text = xml("CompleteMultipartUploadResult", { Bucket: bucket, Key: key, ETag: `"${stored.etag}"` });
    exchange.response.writeHead(200, { "Content-Type": "application/xml" }).end(text);
  }

  async abort({ exchange, key }: ObjectRequest): Promise<void> {
    this.#find(exchange.url, key);
    await this.#drop(exchange.url);
    exchange.response.writeHead(204).end();
  }

  #find(url: URL, key: string): Multipart {
    const multipart = this.#open.get(url.searchParams.get("uploadId") ?? "");
    if (multipart?.key !== key)
      throw new S3Error(404, "NoSuchUpload", "The specified multipart upload does not exist.");
    return multipart;
  }

  async #drop(url: URL): Promise<void> {
    const id = url.searchParams.get("uploadId")!;
    const parts = [...(this.#open.get(id)?.parts.values() ?? [])];
    this.#open.delete(id);
    await Promise.all(parts.map((part) => this.#directory.discard(part.upload)));
  }
}

const parser = new XMLParser({ isArray: (name) => name === "Part", parseTagValue: false });

function namedParts(text: string): { number: number; etag: string }[] {
  const parsed = parser.parse(text) as { CompleteMultipartUpload?: { Part?: { PartNumber: string; ETag: string }[] } };
  const parts = parsed.CompleteMultipartUpload?.Part ?? [];
  if (parts.length === 0) throw new S3Error(400, "MalformedXML", "You must specify at least one part");
  return parts.map((part) => ({ number: Number(part.PartNumber), etag: part.ETag.replaceAll(/"|&quot;/g, "") }));
}
