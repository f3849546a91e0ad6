import type { Readable } from "node:stream";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { S3Bucket } from "../base/bucket-url.ts";
import { crc32cFromBase64, crc32cToBase64 } from "../base/crc32c.ts";
import { makeAgents } from "./agents.ts";
import { collectBody, rangeHeader } from "./body.ts";
import { confirmExisting } from "./confirm.ts";
import { type ListedObject, type ObjectHead, type ObjectStore, ObjectStoreError } from "./object-store.ts";
import { type Limits, limitsOf, type ObjectStoreOptions } from "./options.ts";
import { probeError } from "./probe-error.ts";
import { withRetries } from "./retries.ts";
import { fromS3Error } from "./s3-errors.ts";

/** A bucket of S3 or of a service that speaks its protocol. Credentials come from the SDK's own chain. */
export class S3ObjectStore implements ObjectStore {
  readonly url: string;
  readonly #where: S3Bucket;
  readonly #client: S3Client;
  readonly #limits: Limits;

  constructor(where: S3Bucket, options?: ObjectStoreOptions) {
    this.url = where.url;
    this.#where = where;
    this.#limits = limitsOf(options);
    this.#client = makeClient(where, this.#limits);
  }

  async create(key: string, body: Uint8Array, options: { crc32c: number; signal?: AbortSignal }) {
    const created = await this.#run(`create ${key}`, options.signal, async (abortSignal) => {
      try {
        const put = new PutObjectCommand({
          Bucket: this.#where.bucket,
          Key: key,
          Body: body,
          ContentLength: body.length,
          ContentType: "application/octet-stream",
          IfNoneMatch: "*",
          ChecksumCRC32C: crc32cToBase64(options.crc32c),
        });
        await this.#client.send(put, { abortSignal });
        return true;
      } catch (error) {
        if (fromS3Error(error, key).code === "conflict") return false;
        throw error;
      }
    });
    return created ? "created" : confirmExisting(this, key, { bytes: body.length, ...options });
  }

  read(key: string, options: { offset?: number; length?: number; signal?: AbortSignal } = {}): Promise<Uint8Array> {
    if (options.length === 0) return Promise.resolve(new Uint8Array());
    const range = rangeHeader(options);
    const what = `read ${key}`;
    const attempt = async (abortSignal: AbortSignal) => {
      const get = new GetObjectCommand({ Bucket: this.#where.bucket, Key: key, Range: range });
      const answer = await this.#client.send(get, { abortSignal });
      const bytes = answer.ContentLength ?? 0;
      const body = answer.Body as unknown as Readable;
      if (options.length !== undefined && bytes < options.length) {
        body.destroy();
        throw new ObjectStoreError("range", `${this.url}: ${what}: ${range} reaches past the end`);
      }
      const crc = range === undefined ? crc32cFromBase64(answer.ChecksumCRC32C) : undefined;
      return collectBody(body, { what: `${this.url}: ${what}`, bytes, crc });
    };
    return this.#run(what, options.signal, attempt, "corrupt");
  }

  head(key: string, options: { signal?: AbortSignal } = {}): Promise<ObjectHead | undefined> {
    return this.#run(`head ${key}`, options.signal, async (abortSignal) => {
      try {
        const ask = new HeadObjectCommand({ Bucket: this.#where.bucket, Key: key });
        const answer = await this.#client.send(ask, { abortSignal });
        return { bytes: answer.ContentLength ?? 0, crc32c: crc32cFromBase64(answer.ChecksumCRC32C) };
      } catch (error) {
        if (fromS3Error(error, key).code === "notFound") return undefined;
        throw error;
      }
    });
  }

  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#run(`delete ${key}`, options.signal, (abortSignal) =>
      this.#client.send(new DeleteObjectCommand({ Bucket: this.#where.bucket, Key: key }), { abortSignal }),
    );
  }

  async *list(prefix: string, options: { after?: string; signal?: AbortSignal } = {}): AsyncIterable<ListedObject> {
    let token: string | undefined;
    do {
      const page = await this.#run(`list ${prefix}`, options.signal, (abortSignal) => {
        const ask = new ListObjectsV2Command({
          Bucket: this.#where.bucket,
          Prefix: prefix,
          StartAfter: options.after,
          ContinuationToken: token,
          MaxKeys: this.#limits.pageKeys,
        });
        return this.#client.send(ask, { abortSignal });
      });
      for (const object of page.Contents ?? []) yield { key: object.Key!, bytes: object.Size ?? 0 };
      token = page.NextContinuationToken;
      if (page.IsTruncated && token === undefined) {
        throw new ObjectStoreError(
          "unavailable",
          `${this.url}: list ${prefix}: the page is truncated, and names no next page`,
        );
      }
    } while (token !== undefined);
  }

  async copyFrom(source: ObjectStore, key: string, options: { crc32c: number; bytes: number; signal?: AbortSignal }) {
    if (!(source instanceof S3ObjectStore) || source.#where.endpoint !== this.#where.endpoint) return undefined;
    try {
      // Some services ignore the precondition of a copy: look for an existing object first.
      if ((await this.head(key, options)) !== undefined) return await confirmExisting(this, key, options);
      const attempt = (abortSignal: AbortSignal) => this.#copy(source, key, options, abortSignal);
      const copied = await this.#run(`copy ${key}`, options.signal, attempt);
      await confirmExisting(this, key, options);
      return copied;
    } catch (error) {
      // Our credentials may not read the source through the service, or it cannot copy: the caller reads and writes instead.
      if (error instanceof ObjectStoreError && error.code === "denied") return undefined;
      throw error;
    }
  }

  async probe(options: { signal?: AbortSignal } = {}): Promise<void> {
    try {
      // A listing, because the errors of a HEAD have no body, and so no name.
      await this.#run("probe", options.signal, (abortSignal) =>
        this.#client.send(new ListObjectsV2Command({ Bucket: this.#where.bucket, MaxKeys: 1 }), { abortSignal }),
      );
    } catch (error) {
      const hint = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE, the region, and the bucket's policy";
      throw probeError(this.url, error as ObjectStoreError, hint);
    }
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #copy(
    source: S3ObjectStore,
    key: string,
    expected: { crc32c: number; bytes: number },
    abortSignal: AbortSignal,
  ): Promise<"created" | "exists"> {
    const from = { Bucket: source.#where.bucket, Key: key };
    const head = await source.#client.send(new HeadObjectCommand(from), { abortSignal });
    if (head.ContentLength !== expected.bytes || crc32cFromBase64(head.ChecksumCRC32C) !== expected.crc32c) {
      throw new ObjectStoreError("corrupt", `${source.url}: ${key} does not match its slice's record`);
    }
    const copy = new CopyObjectCommand({
      Bucket: this.#where.bucket,
      Key: key,
      CopySource: `${from.Bucket}/${key.split("/").map(encodeURIComponent).join("/")}`,
      CopySourceIfMatch: head.ETag,
      ChecksumAlgorithm: "CRC32C",
      IfNoneMatch: "*",
    });
    try {
      await this.#client.send(copy, { abortSignal });
      return "created";
    } catch (error) {
      // It was created meanwhile, or the source has changed: the caller's `confirmExisting` finds out.
      if (fromS3Error(error, key).code === "conflict") return "exists";
      throw error;
    }
  }

  #run<T>(
    what: string,
    signal: AbortSignal | undefined,
    attempt: (signal: AbortSignal) => Promise<T>,
    again?: "corrupt",
  ): Promise<T> {
    const full = `${this.url}: ${what}`;
    const toError = (error: unknown) => fromS3Error(error, full);
    return withRetries({ what: full, limits: this.#limits, signal, toError, attempt, again });
  }
}

/** With settings that were measured: by default the SDK hashes each body in slow code on the event loop. */
function makeClient(where: S3Bucket, limits: Limits): S3Client {
  const agents = makeAgents(limits);
  const client = new S3Client({
    ...(where.region === undefined ? {} : { region: where.region }),
    ...(where.endpoint === undefined ? {} : { endpoint: where.endpoint, forcePathStyle: true }),
    maxAttempts: 1, // `withRetries` retries: one policy for all stores, which covers truncated bodies too
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    expectContinueHeader: false, // it costs a round trip for each block
    requestHandler: { httpAgent: agents.http, httpsAgent: agents.https, connectionTimeout: limits.connectTimeoutMs },
  });
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers, protocol, method } = args.request as {
        headers: Record<string, string>;
        protocol: string;
        method: string;
      };
      // Over TLS the signed checksum suffices: hashing each body for the signature as well takes 8 times as long. On plain
      // HTTP, S3 requires a signed payload.
      if (method === "PUT" && protocol === "https:") headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
      // Set here and not by `ChecksumMode`, which makes the SDK check the checksum too, 25 times slower than we do.
      if (method === "GET" || method === "HEAD") headers["x-amz-checksum-mode"] = "ENABLED";
      return next(args);
    },
    { step: "build", name: "mirrorfsHeaders" },
  );
  return client;
}
