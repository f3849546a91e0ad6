import type { Readable } from "node:stream";
import { GoogleAuth } from "google-auth-library";
import { makeAgents } from "./agents.ts";
import { fromGsAnswer } from "./gs-errors.ts";
import { type Adapter, httpAdapter } from "./http-adapter.ts";
import type { ObjectStoreError } from "./object-store.ts";
import type { Limits } from "./options.ts";

export interface GsRequest {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Path below the endpoint. */
  readonly path: string;
  readonly query?: Record<string, string | undefined>;
  readonly headers?: Record<string, string>;
  /** Called for each attempt. */
  readonly body?: () => Readable;
}

/** The caller reads the body, or calls `resume()` on it: otherwise the connection stays busy. */
export interface GsResponse {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Readable;
}

const ENDPOINT = "https://storage.googleapis.com";
const SCOPE = "https://www.googleapis.com/auth/cloud-platform";
const GOOGLE_TOKEN_URL = "https://www.googleapis.com/oauth2/v4/token";

/**
 * The JSON API of Google Cloud Storage, spoken directly; Google's auth library supplies the credentials. The storage SDK is
 * not used: its `File` cannot be aborted, destroys the connection pool that all requests share when one body fails, and its
 * transport (node-fetch 2) takes a truncated body for a whole one.
 */
export class GsApi {
  readonly #endpoint: string;
  readonly #url: string;
  readonly #auth = new GoogleAuth({ scopes: SCOPE });
  readonly #agents: ReturnType<typeof makeAgents>;

  /** @param where `url`: the bucket's, for messages. */
  constructor(where: { endpoint: string | undefined; url: string; limits: Limits }) {
    this.#endpoint = where.endpoint ?? ENDPOINT;
    this.#url = where.url;
    this.#agents = makeAgents(where.limits);
    useTransport(this.#auth, httpAdapter(this.#agents));
  }

  /** Sends a request with a token, and once more with a new token when that was refused. Any other status is returned. */
  async request(request: GsRequest, signal: AbortSignal): Promise<GsResponse> {
    const response = await this.#requestOnce(request, signal);
    if (response.status !== 401) return response;
    // The token was revoked before it expired, or the service was restarted and forgot it (a local server does).
    response.body.resume();
    const client = await this.#auth.getClient();
    client.credentials.expiry_date = 1;
    return this.#requestOnce(request, signal);
  }

  /** The body of a successful response. @throws ObjectStoreError for any other response. */
  async text(response: GsResponse, what: string): Promise<string> {
    if (response.status >= 300) throw await this.errorOf(response, what);
    return readText(response.body);
  }

  /** The same, parsed. */
  async json<T>(response: GsResponse, what: string): Promise<T> {
    return JSON.parse(await this.text(response, what)) as T;
  }

  /** The error that a response without success states. */
  async errorOf({ status, body }: GsResponse, what: string): Promise<ObjectStoreError> {
    return fromGsAnswer({ status, body: await readText(body) }, `${this.#url}: ${what}`);
  }

  close(): void {
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  async #requestOnce({ method, path, query, headers, body }: GsRequest, signal: AbortSignal): Promise<GsResponse> {
    const given = Object.entries(query ?? {}).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const response = await this.#auth.request<Readable>({
      url: `${this.#endpoint}${path}?${new URLSearchParams(given)}`,
      method: method ?? "GET",
      headers: { "Accept-Encoding": "identity", ...headers },
      data: body?.(),
      responseType: "stream",
      validateStatus: () => true,
      retry: false,
      signal,
    });
    return { status: response.status, headers: response.headers as Record<string, string>, body: response.data };
  }
}

async function readText(body: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of body as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

type AuthClient = Awaited<ReturnType<GoogleAuth["getClient"]>>;

/**
 * Makes all requests, those for tokens included, use our connections and so our timeouts: a token request that hangs would
 * hold up everything for ever. Also honours `token_uri` of a service account's key file, as Google's Go and Python libraries
 * do; the Node library always uses Google's URL.
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
