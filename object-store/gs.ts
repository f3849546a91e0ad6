import { Readable } from "node:stream";
import type { GsBucket } from "../base/bucket-url.ts";
import { crc32cFromBase64, crc32cToBase64 } from "../base/crc32c.ts";
import { collectBody, rangeHeader } from "./body.ts";
import { confirmExisting } from "./confirm.ts";
import { GsApi } from "./gs-api.ts";
import { fromGsError } from "./gs-errors.ts";
import { type ListedObject, type ObjectHead, type ObjectStore, ObjectStoreError } from "./object-store.ts";
import { type Limits, limitsOf, type ObjectStoreOptions } from "./options.ts";
import { probeError } from "./probe-error.ts";
import { withRetries } from "./retries.ts";

/** An object's metadata in the JSON API (https://cloud.google.com/storage/docs/json_api/v1/objects): numbers are strings. */
interface Resource {
  readonly name: string;
  readonly size: string;
  readonly crc32c?: string;
  readonly generation: string;
}

/** A bucket of Google Cloud Storage. */
export class GsObjectStore implements ObjectStore {
  readonly url: string;
  readonly #where: GsBucket;
  readonly #limits: Limits;
  readonly #api: GsApi;

  constructor(where: GsBucket, options?: ObjectStoreOptions) {
    this.url = where.url;
    this.#where = where;
    this.#limits = limitsOf(options);
    this.#api = new GsApi({ endpoint: where.endpoint, url: where.url, limits: this.#limits });
  }

  async create(key: string, body: Uint8Array, options: { crc32c: number; signal?: AbortSignal }) {
    const what = `create ${key}`;
    const multipart = multipartOf(key, body, options.crc32c);
    const created = await this.#run(what, options.signal, async (signal) => {
      const answer = await this.#api.request(
        {
          method: "POST",
          path: `/upload/storage/v1/b/${this.#where.bucket}/o`,
          query: { uploadType: "multipart", name: key, ifGenerationMatch: "0", fields: "crc32c,size" },
          headers: multipart.headers,
          body: multipart.body,
        },
        signal,
      );
      if (answer.status === 412) {
        answer.body.resume();
        return false;
      }
      const stored = await this.#api.json<Resource>(answer, what);
      if (crc32cFromBase64(stored.crc32c) !== options.crc32c || Number(stored.size) !== body.length) {
        throw new ObjectStoreError("corrupt", `${this.url}: ${what}: the service stored other bytes than it was sent`);
      }
      return true;
    });
    return created ? "created" : confirmExisting(this, key, { bytes: body.length, ...options });
  }

  read(key: string, options: { offset?: number; length?: number; signal?: AbortSignal } = {}): Promise<Uint8Array> {
    if (options.length === 0) return Promise.resolve(new Uint8Array());
    const range = rangeHeader(options);
    const what = `read ${key}`;
    const attempt = async (signal: AbortSignal) => {
      const headers: Record<string, string> = range === undefined ? {} : { Range: range };
      const answer = await this.#api.request({ path: this.#object(key), query: { alt: "media" }, headers }, signal);
      if (answer.status >= 300) throw await this.#api.errorOf(answer, what);
      const bytes = Number(answer.headers["content-length"] ?? Number.NaN);
      if (!Number.isSafeInteger(bytes) || (options.length !== undefined && bytes < options.length)) {
        answer.body.destroy();
        throw new ObjectStoreError("range", `${this.url}: ${what}: ${range ?? "the object"} reaches past the end`);
      }
      const crc = range === undefined ? statedCrc(answer.headers["x-goog-hash"]) : undefined;
      return collectBody(answer.body, { what: `${this.url}: ${what}`, bytes, crc });
    };
    return this.#run(what, options.signal, attempt, "corrupt");
  }

  head(key: string, options: { signal?: AbortSignal } = {}): Promise<ObjectHead | undefined> {
    const what = `head ${key}`;
    return this.#run(what, options.signal, async (signal) => {
      const found = await this.#resource(key, what, signal);
      return found && { bytes: Number(found.size), crc32c: crc32cFromBase64(found.crc32c) };
    });
  }

  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    const what = `delete ${key}`;
    await this.#run(what, options.signal, async (signal) => {
      const answer = await this.#api.request({ method: "DELETE", path: this.#object(key) }, signal);
      await unlessNotFound(this.#api.text(answer, what));
    });
  }

  async *list(prefix: string, options: { after?: string; signal?: AbortSignal } = {}): AsyncIterable<ListedObject> {
    let pageToken: string | undefined;
    do {
      const page = await this.#run(`list ${prefix}`, options.signal, (signal) =>
        this.#page(
          `list ${prefix}`,
          { prefix, startOffset: options.after, pageToken, maxResults: this.#limits.pageKeys },
          signal,
        ),
      );
      for (const object of page.items ?? []) {
        // `startOffset` is inclusive.
        if (object.name !== options.after) yield { key: object.name, bytes: Number(object.size) };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
  }

  async copyFrom(source: ObjectStore, key: string, options: { crc32c: number; bytes: number; signal?: AbortSignal }) {
    if (!(source instanceof GsObjectStore) || source.#where.endpoint !== this.#where.endpoint) return undefined;
    const what = `copy ${key}`;
    try {
      const copied = await this.#run(what, options.signal, async (signal) => {
        const found = await source.#resource(key, what, signal);
        if (found === undefined) throw new ObjectStoreError("notFound", `${source.url}: ${key} does not exist`);
        if (Number(found.size) !== options.bytes || crc32cFromBase64(found.crc32c) !== options.crc32c) {
          throw new ObjectStoreError("corrupt", `${source.url}: ${key} does not match its slice's record`);
        }
        return this.#rewrite(source, key, found.generation, signal);
      });
      await confirmExisting(this, key, options);
      return copied;
    } catch (error) {
      if (error instanceof ObjectStoreError && error.code === "denied") return undefined;
      throw error;
    }
  }

  async probe(options: { signal?: AbortSignal } = {}): Promise<void> {
    try {
      await this.#run("probe", options.signal, (signal) => this.#page("probe", { maxResults: 1 }, signal));
    } catch (error) {
      const hint =
        "check GOOGLE_APPLICATION_CREDENTIALS (or `gcloud auth application-default login`) and the bucket's IAM";
      throw probeError(this.url, error as ObjectStoreError, hint);
    }
  }

  async close(): Promise<void> {
    this.#api.close();
  }

  #object(key: string): string {
    return `/storage/v1/b/${this.#where.bucket}/o/${encodeURIComponent(key)}`;
  }

  async #resource(key: string, what: string, signal: AbortSignal): Promise<Resource | undefined> {
    const answer = await this.#api.request(
      { path: this.#object(key), query: { fields: "name,size,crc32c,generation" } },
      signal,
    );
    return unlessNotFound(this.#api.json<Resource>(answer, what));
  }

  async #page(
    what: string,
    query: { prefix?: string; startOffset?: string; pageToken?: string; maxResults: number },
    signal: AbortSignal,
  ): Promise<{ items?: Resource[]; nextPageToken?: string }> {
    const path = `/storage/v1/b/${this.#where.bucket}/o`;
    const fields = "items(name,size),nextPageToken";
    const answer = await this.#api.request(
      { path, query: { ...query, maxResults: String(query.maxResults), fields } },
      signal,
    );
    return this.#api.json(answer, what);
  }

  /** Copying a large object, or between locations, takes several calls. */
  async #rewrite(source: GsObjectStore, key: string, generation: string, signal: AbortSignal) {
    const path = `${source.#object(key)}/rewriteTo/b/${this.#where.bucket}/o/${encodeURIComponent(key)}`;
    for (let rewriteToken: string | undefined; ; ) {
      const query = { ifGenerationMatch: "0", ifSourceGenerationMatch: generation, rewriteToken };
      const answer = await this.#api.request({ method: "POST", path, query }, signal);
      if (answer.status === 412) {
        answer.body.resume();
        return "exists" as const; // or the source has changed: the caller's `confirmExisting` finds out
      }
      const step = await this.#api.json<{ done: boolean; rewriteToken?: string }>(answer, `copy ${key}`);
      if (step.done) return "created" as const;
      rewriteToken = step.rewriteToken;
    }
  }

  #run<T>(
    what: string,
    signal: AbortSignal | undefined,
    attempt: (signal: AbortSignal) => Promise<T>,
    again?: "corrupt",
  ): Promise<T> {
    const full = `${this.url}: ${what}`;
    const toError = (error: unknown) => fromGsError(error, full);
    return withRetries({ what: full, limits: this.#limits, signal, toError, attempt, again });
  }
}

/** The body of a multipart upload: the object's metadata with its checksum, then the bytes, which are not copied. */
function multipartOf(key: string, bytes: Uint8Array, crc: number) {
  const boundary = "mirrorfs-7d1c5a90e2";
  const metadata = JSON.stringify({ name: key, crc32c: crc32cToBase64(crc), contentType: "application/octet-stream" });
  const head = Buffer.from(
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n${metadata}\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--`);
  return {
    headers: {
      "Content-Type": `multipart/related; boundary=${boundary}`,
      "Content-Length": String(head.length + bytes.length + tail.length),
    },
    body: () => Readable.from([head, bytes, tail], { objectMode: false }),
  };
}

function statedCrc(header: string | undefined): number | undefined {
  return crc32cFromBase64(header?.match(/crc32c=([^,]+)/)?.[1]);
}

async function unlessNotFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ObjectStoreError && error.code === "notFound") return undefined;
    throw error;
  }
}
