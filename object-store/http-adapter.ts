import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";

/** A request as gaxios passes it to an adapter: the fields used here. */
interface AdapterRequest {
  url?: string | URL;
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
  responseType?: string;
  signal?: unknown;
}

// biome-ignore lint/suspicious/noExplicitAny: gaxios does not export its types.
export type Adapter = (request: any) => Promise<any>;

/** Sends gaxios's requests with node:http, so that an error in the middle of a body reaches its reader. */
export function httpAdapter(agents: { http: http.Agent; https: https.Agent }): Adapter {
  return async (request: AdapterRequest) => {
    const message = await send(request, agents);
    const data = request.responseType === "stream" ? message : parsed(await collectText(message));
    return {
      config: request,
      data,
      status: message.statusCode,
      statusText: message.statusMessage,
      headers: joinedHeaders(message),
      request: { responseURL: String(request.url) },
    };
  };
}

function send(
  request: AdapterRequest,
  agents: { http: http.Agent; https: https.Agent },
): Promise<http.IncomingMessage> {
  const url = String(request.url);
  const isTls = url.startsWith("https:");
  const signal = request.signal as AbortSignal | undefined;
  const options = { method: request.method ?? "GET", headers: request.headers, signal };
  return new Promise((resolve, reject) => {
    const outgoing = isTls
      ? https.request(url, { ...options, agent: agents.https })
      : http.request(url, { ...options, agent: agents.http });
    outgoing.once("response", resolve);
    outgoing.on("error", reject);
    if (request.body instanceof Readable) request.body.on("error", (error) => outgoing.destroy(error)).pipe(outgoing);
    else outgoing.end(request.body);
  });
}

function joinedHeaders(message: http.IncomingMessage): Record<string, string> {
  const headers = Object.entries(message.headersDistinct).map(([name, values]) => [name, values!.join(", ")]);
  return Object.fromEntries(headers);
}

async function collectText(message: http.IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of message as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
