import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { readAll } from "./bodies.ts";
import { checkFaultRule, type Fault, Faults, type RequestTraits } from "./faults.ts";

/** One request and its response, with the injected faults applied. */
export interface Exchange {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly url: URL;
  /** The request's body. */
  readonly body: () => AsyncIterable<Buffer>;
  /** Sends the response's body, after `writeHead`. */
  readonly send: (body: Readable) => Promise<void>;
}

/** A cloud's protocol. All answers, errors too, are in the service's own format. */
export interface CloudService {
  identify(request: http.IncomingMessage, url: URL): RequestTraits;
  handle(exchange: Exchange): Promise<void>;
  fail(exchange: Exchange, fault: "unavailable" | "slowDown"): void;
  /** Answers with an error that `handle` threw. */
  failed(exchange: Exchange, error: unknown): void;
}

export interface CloudServer {
  readonly endpoint: string;
  readonly faults: Faults;
  stop(): Promise<void>;
}

/**
 * Faults can be injected over HTTP: GET lists the rules, POST adds one, DELETE removes all, DELETE …/ID one. No
 * bucket can have this name.
 */
const ADMIN_PATH = "/-/faults";

export interface Listen {
  readonly host?: string;
  readonly port?: number;
  /** PEM. Without it the server speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

export async function serveCloud(service: CloudService, where: Listen): Promise<CloudServer> {
  const faults = new Faults();
  const settings = { ...where.tls, keepAliveTimeout: 120_000, highWaterMark: 256 * 1024 };
  const onRequest = (request: http.IncomingMessage, response: http.ServerResponse) => {
    void answer({ service, faults }, request, response);
  };
  const server =
    where.tls === undefined ? http.createServer(settings, onRequest) : https.createServer(settings, onRequest);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where.port ?? 0, where.host ?? "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `${where.tls === undefined ? "http" : "https"}://${where.host ?? "127.0.0.1"}:${port}`,
    faults,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  at: { service: CloudService; faults: Faults },
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname.startsWith(ADMIN_PATH)) return administer(at.faults, request, response, url);
  const injected = at.faults.take(at.service.identify(request, url));
  const exchange = exchangeOf(request, response, url, injected);
  try {
    for (const fault of injected) {
      if (fault.kind === "latency") await delay(fault.ms);
      if (fault.kind === "hang") return;
      if (fault.kind === "refuse") {
        request.socket.resetAndDestroy();
        return;
      }
      if (fault.kind === "loseAnswer") loseAnswer(response);
      if (fault.kind === "unavailable" || fault.kind === "slowDown") return at.service.fail(exchange, fault.kind);
    }
    await at.service.handle(exchange);
  } catch (error) {
    if (response.headersSent || response.destroyed) response.destroy();
    else at.service.failed(exchange, error);
  } finally {
    if (!request.complete) request.resume(); // answered before the body's end: drain it, so that the connection stays usable
  }
}

function loseAnswer(response: http.ServerResponse): void {
  response.writeHead = () => response;
  response.end = () => {
    response.socket?.resetAndDestroy();
    return response;
  };
}

function exchangeOf(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  url: URL,
  injected: readonly Fault[],
): Exchange {
  const faults = injected.filter((fault) => fault.kind === "cutBody" || fault.kind === "wrongBytes");
  return {
    request,
    response,
    url,
    body: () => (faults.length === 0 ? request : faulty(request, faults)),
    send: async (body) => {
      if (faults.length === 0) return pipeline(body, response);
      await pipeline(
        body,
        faultStream(faults, () => response.destroy()),
        response,
      );
    },
  };
}

function faulty(request: http.IncomingMessage, faults: readonly Fault[]): AsyncIterable<Buffer> {
  const stream = faultStream(faults, () => request.socket.destroy());
  pipeline(request, stream).catch(() => {}); // the stream's reader gets the error
  return stream;
}

function faultStream(faults: readonly Fault[], hangUp: () => void): Transform {
  const cut = faults.find((fault) => fault.kind === "cutBody");
  let flip = faults.some((fault) => fault.kind === "wrongBytes");
  let left = cut?.afterBytes ?? Number.POSITIVE_INFINITY;
  return new Transform({
    transform(arrived: Buffer, _encoding, done) {
      const piece = flip ? withOneBitFlipped(arrived) : arrived;
      flip = false;
      if (piece.length < left) {
        left -= piece.length;
        return done(null, piece);
      }
      this.push(piece.subarray(0, left));
      setTimeout(hangUp, 10); // after the bytes before the cut have been sent
    },
  });
}

function withOneBitFlipped(piece: Buffer): Buffer {
  const flipped = Buffer.from(piece);
  flipped[flipped.length >> 1]! ^= 1;
  return flipped;
}

async function administer(
  faults: Faults,
  request: http.IncomingMessage,
  response: http.ServerResponse,
  url: URL,
): Promise<void> {
  const reply = (status: number, body: unknown) => {
    response.writeHead(status, { "Content-Type": "application/json" }).end(`${JSON.stringify(body)}\n`);
  };
  try {
    if (request.method === "GET") return reply(200, faults.rules());
    if (request.method === "POST") {
      const rule: unknown = JSON.parse((await readAll(request)).toString());
      return reply(200, { id: faults.add(checkFaultRule(rule)) });
    }
    if (request.method !== "DELETE") return reply(405, { error: "GET, POST or DELETE" });
    const id = url.pathname.slice(ADMIN_PATH.length + 1);
    if (id === "") faults.clear();
    reply(200, { removed: id === "" ? "all" : faults.remove(Number(id)) });
  } catch (error) {
    reply(400, { error: (error as Error).message });
  }
}
