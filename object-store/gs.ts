import { Readable } from "node:stream";
import { GoogleAuth } from "google-auth-library";
import type { GsBucket } from "../base/bucket-url.ts";
import { crc32cFromBase64, crc32cToBase64 } from "../base/crc32c.ts";
import { makeAgents } from "./agents.ts";
import { collectBody, rangeHeader } from "./body.ts";
import { confirmExisting } from "./confirm.ts";
import { fromGsAnswer, fromGsError } from "./gs-errors.ts";
import { type Adapter, httpAdapter } from "./http-adapter.ts";
import { type ListedObject, type ObjectHead, type ObjectStore, ObjectStoreError } from "./object-store.ts";
import { type Limits, limitsOf, type ObjectStoreOptions } from "./options.ts";
import { probeError } from "./probe-error.ts";
import { withRetries } from "./retries.ts";

interface Ask {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Path below the endpoint. */
  readonly path: string;
  readonly query?: Record<string, string | undefined>;
  readonly headers?: Record<string, string>;
  readonly body?: () => Readable;
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Readable;
}

/** What GCS says of an object; numbers are strings there. */
interface Resource {
  readonly name: string;
  readonly size: string;
  readonly crc32c?: string;
  readonly generation: string;
}

const ENDPOINT = "https://storage.googleapis.com";
const SCOPE = "https://www.googleapis.com/auth/cloud-platform";

/**
 * A bucket of Google Cloud Storage. Google's auth library supplies the credentials, and the JSON API is spoken directly:
 * a `File` of the storage SDK cannot be aborted, destroys the connection pool that all requests share when one body fails,
 * and its transport (node-fetch 2) takes a truncated body for a whole one.
 */
export class GsObjectStore implements ObjectStore {
  readonly url: string;
  readonly #where: GsBucket;
  readonly #auth = new GoogleAuth({ scopes: SCOPE });
  readonly #limits: Limits;
  readonly #agents: ReturnType<typeof makeAgents>;

  constructor(where: GsBucket, options?: ObjectStoreOptions) {
    this.url = where.url;
    this.#where = where;
    this.#limits = limitsOf(options);
    this.#agents = makeAgents(this.#limits);
    useTransport(this.#auth, httpAdapter(this.#agents));
  }

  async create(key: string, body: Uint8Array, options: { crc32c: number; signal?: AbortSignal }) {
    const what = `create ${key}`;
    const multipart = multipartOf(key, body, options.crc32c);
    const created = await this.#run(what, options.signal, async (signal) => {
      const answer = await this.#ask(
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
      const stored = await this.#json<Resource>(answer, what);
      if (crc32cFromBase64(stored.crc32c) !== options.crc32c || Number(stored.size) !== body.length) {
        throw new ObjectStoreError("corrupt", `${this.url}: ${what}: the service stored other bytes than were sent`);
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
      const answer = await this.#ask({ path: this.#object(key), query: { alt: "media" }, headers }, signal);
      if (answer.status >= 300)
        throw fromGsAnswer({ status: answer.status, body: await text(answer.body) }, `${this.url}: ${what}`);
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
      const answer = await this.#ask({ method: "DELETE", path: this.#object(key) }, signal);
      await unlessNotFound(this.#text(answer, what));
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
        if (found === undefined) throw new ObjectStoreError("notFound", `${source.url}: ${key} is not there`);
        if (Number(found.size) !== options.bytes || crc32cFromBase64(found.crc32c) !== options.crc32c) {
          throw new ObjectStoreError("corrupt", `${source.url}: ${key} is not what its slice says`);
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
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  #object(key: string): string {
    return `/storage/v1/b/${this.#where.bucket}/o/${encodeURIComponent(key)}`;
  }

  async #resource(key: string, what: string, signal: AbortSignal): Promise<Resource | undefined> {
    const answer = await this.#ask(
      { path: this.#object(key), query: { fields: "name,size,crc32c,generation" } },
      signal,
    );
    return unlessNotFound(this.#json<Resource>(answer, what));
  }

  async #page(
    what: string,
    query: { prefix?: string; startOffset?: string; pageToken?: string; maxResults: number },
    signal: AbortSignal,
  ): Promise<{ items?: Resource[]; nextPageToken?: string }> {
    const path = `/storage/v1/b/${this.#where.bucket}/o`;
    const fields = "items(name,size),nextPageToken";
    const answer = await this.#ask({ path, query: { ...query, maxResults: String(query.maxResults), fields } }, signal);
    return this.#json(answer, what);
  }

  /** A copy of a big object, or between locations, takes several calls. */
  async #rewrite(source: GsObjectStore, key: string, generation: string, signal: AbortSignal) {
    const path = `${source.#object(key)}/rewriteTo/b/${this.#where.bucket}/o/${encodeURIComponent(key)}`;
    for (let rewriteToken: string | undefined; ; ) {
      const query = { ifGenerationMatch: "0", ifSourceGenerationMatch: generation, rewriteToken };
      const answer = await this.#ask({ method: "POST", path, query }, signal);
      if (answer.status === 412) {
        answer.body.resume();
        return "exists" as const; // or the source has changed: `confirmExisting` tells
      }
      const step = await this.#json<{ done: boolean; rewriteToken?: string }>(answer, `copy ${key}`);
      if (step.done) return "created" as const;
      rewriteToken = step.rewriteToken;
    }
  }

  async #text(answer: Answer, what: string): Promise<string> {
    const body = await text(answer.body);
    if (answer.status >= 300) throw fromGsAnswer({ status: answer.status, body }, `${this.url}: ${what}`);
    return body;
  }

  async #json<T>(answer: Answer, what: string): Promise<T> {
    return JSON.parse(await this.#text(answer, what)) as T;
  }

  async #ask(ask: Ask, signal: AbortSignal): Promise<Answer> {
    const answer = await this.#request(ask, signal);
    if (answer.status !== 401) return answer;
    // The token was revoked before its time, or a local server that was restarted has forgotten it.
    answer.body.resume();
    const client = await this.#auth.getClient();
    client.credentials.expiry_date = 1;
    return this.#request(ask, signal);
  }

  async #request(ask: Ask, signal: AbortSignal): Promise<Answer> {
    const given = Object.entries(ask.query ?? {}).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const url = `${this.#where.endpoint ?? ENDPOINT}${ask.path}?${new URLSearchParams(given)}`;
    const answer = await this.#auth.request<Readable>({
      url,
      method: ask.method ?? "GET",
      headers: { "Accept-Encoding": "identity", ...ask.headers },
      data: ask.body?.(),
      responseType: "stream",
      validateStatus: () => true,
      retry: false,
      signal,
    });
    return { status: answer.status, headers: answer.headers as Record<string, string>, body: answer.data };
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

/** The body of an upload in one request: the object's metadata with its checksum, then its bytes, not copied. */
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

async function text(body: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of body as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function unlessNotFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ObjectStoreError && error.code === "notFound") return undefined;
    throw error;
  }
}

const GOOGLE_TOKEN_URL = "https://www.googleapis.com/oauth2/v4/token";

type AuthClient = Awaited<ReturnType<GoogleAuth["getClient"]>>;

/**
 * Lets all requests, those for tokens too, take our connections and so our timeouts: a token request that hangs would
 * hold up everything for ever. And honours `token_uri` of a service account's key file, as Google's Go and Python
 * libraries do; the Node library has Google's URL as a constant.
 */
function useTransport(auth: GoogleAuth, adapter: Adapter): void {
  const getClient = auth.getClient.bind(auth);
  const done = new WeakSet<AuthClient>();
  auth.getClient = async () => {
    const client = await getClient();
    if (done.has(client)) return client;
    done.add(client);
    const { transporter } = client;
    const tokenUri = (auth.jsonContent as { token_uri?: string } | null)?.token_uri;
    const isPrivate = tokenUri !== undefined && !new URL(tokenUri).hostname.endsWith(".googleapis.com");
    if (isPrivate) Object.assign(client, { additionalClaims: { aud: tokenUri } });
    const request: typeof transporter.request = (options) => {
      const isToken = isPrivate && options?.url === GOOGLE_TOKEN_URL;
      return transporter.request({ ...options, adapter, ...(isToken ? { url: tokenUri } : {}) });
    };
    client.transporter = { ...transporter, request };
    return client;
  };
}
