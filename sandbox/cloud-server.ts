import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { readAll } from "./bodies.ts";
import { checkFaultRule, type Fault, Faults, type RequestTraits } from "./faults.ts";

/** One request and its answer, with the faults that were ordered for it. */
export interface Exchange {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly url: URL;
  /** The upload as it arrives. */
  readonly body: () => AsyncIterable<Buffer>;
  /** Sends a body after `writeHead`. */
  readonly send: (body: Readable) => Promise<void>;
}

/** A cloud's protocol. `handle` and `fail` answer in the service's own format. */
export interface CloudService {
  identify(request: http.IncomingMessage, url: URL): RequestTraits;
  handle(exchange: Exchange): Promise<void>;
  fail(exchange: Exchange, fault: "unavailable" | "slowDown"): void;
  /** An error that `handle` threw. */
  failed(exchange: Exchange, error: unknown): void;
}

export interface CloudServer {
  readonly endpoint: string;
  readonly faults: Faults;
  stop(): Promise<void>;
}

/** Faults are ordered here too: GET, POST a rule, DELETE all, DELETE …/ID. No bucket can have this name. */
const ADMIN_PATH = "/-/faults";

export interface Listen {
  readonly host?: string;
  readonly port?: number;
  /** PEM; without it the service speaks plain HTTP. */
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
  const ordered = at.faults.take(at.service.identify(request, url));
  const exchange = exchangeOf(request, response, url, ordered);
  try {
    for (const fault of ordered) {
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
    if (!request.complete) request.resume(); // an answer before the body's end: the connection stays usable
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
  ordered: readonly Fault[],
): Exchange {
  const faults = ordered.filter((fault) => fault.kind === "cutBody" || fault.kind === "wrongBytes");
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
  pipeline(request, stream).catch(() => {}); // the stream's reader is told
  return stream;
}

function faultStream(faults: readonly Fault[], hangUp: () => void): Transform {
  const cut = faults.find((fault) => fault.kind === "cutBody");
  let turn = faults.some((fault) => fault.kind === "wrongBytes");
  let left = cut?.afterBytes ?? Number.POSITIVE_INFINITY;
  return new Transform({
    transform(arrived: Buffer, _encoding, done) {
      const piece = turn ? withOneBitTurned(arrived) : arrived;
      turn = false;
      if (piece.length < left) {
        left -= piece.length;
        return done(null, piece);
      }
      this.push(piece.subarray(0, left));
      setTimeout(hangUp, 10); // after what comes before it has left
    },
  });
}

function withOneBitTurned(piece: Buffer): Buffer {
  const turned = Buffer.from(piece);
  turned[turned.length >> 1]! ^= 1;
  return turned;
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
