import type { ClientDuplexStream, ClientOptions } from "@grpc/grpc-js";
import { channelCredentials } from "../../../proto/credentials.ts";
import {
  type ClientFrame,
  type Freshness,
  type Hello,
  type Invalidation,
  MetadataClient,
  type Request,
  type Response,
  type ServerFrame,
  type Welcome,
  type WireVersion,
} from "../../../proto/generated/metadata.ts";

export type RequestBody = NonNullable<Request["body"]>;
/**
 * `lost`: the stream ended before the answer. `timeout`: no answer in time. Either way the request may be carried out.
 */
export type Answer = Response | "lost" | "timeout";

export interface ConnectionEvents {
  /** Whether a server of the volume with this uuid may be used. If not, the stream is closed before anything of it counts. */
  accepts(uuid: string): boolean;
  /** Called before the responses of the same frame are delivered. `version`: none of the changes is later. */
  onInvalidations(invalidations: readonly Invalidation[], version: WireVersion | undefined): void;
  onVersion(version: WireVersion): void;
  /** Called once, when the stream has ended and every request in flight was answered "lost". */
  onEnd(connection: Connection): void;
}

/** A failure must not delay later streams to the address: each stream has its own subchannel, with a short back-off. */
export const CHANNEL_OPTIONS: ClientOptions = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 500,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
};

const IN_FLIGHT_MAX = 4096;
const FRAME_REQUESTS_MAX = 1024;
const FRAME_COMMAND_BYTES_MAX = 1024 * 1024;
const TICK_MS = 500;
const QUIET_MS = 2000;
const SILENCE_MS = 6000;
const WELCOME_MS = 3000;

interface InFlight {
  readonly resolve: (answer: Answer) => void;
  readonly deadlineMs: number;
}

/**
 * One long-lived stream to one metadata server. Requests are numbered; all requests of one turn of the event loop go in
 * one frame. At most IN_FLIGHT_MAX are in flight, the others are queued.
 */
export class Connection {
  readonly address: string;
  /** The server's Welcome; `undefined` when the stream ended before it. */
  readonly welcomed: Promise<Welcome | undefined>;
  #welcome: (welcome: Welcome | undefined) => void = () => {};
  #stream: ClientDuplexStream<ClientFrame, ServerFrame>;
  readonly #client: MetadataClient;
  readonly #events: ConnectionEvents;
  readonly #inFlight = new Map<number, InFlight>();
  #queue: { request: Request; inFlight: InFlight }[] = [];
  #nextId = 1;
  #flushing = false;
  #draining = false;
  #ended = false;
  #receivedMs = performance.now();
  #probing = false;
  readonly #openedMs = performance.now();
  #gotWelcome = false;
  readonly #timer: NodeJS.Timeout;

  constructor(address: string, hello: Hello, events: ConnectionEvents) {
    this.address = address;
    this.#events = events;
    this.welcomed = new Promise((resolve) => {
      this.#welcome = resolve;
    });
    this.#client = new MetadataClient(address, channelCredentials(), CHANNEL_OPTIONS);
    this.#stream = this.#client.session();
    this.#stream.on("data", (frame: ServerFrame) => this.#receive(frame));
    this.#stream.on("error", () => this.close());
    this.#stream.on("end", () => this.close());
    this.#stream.write({ hello, requests: [] });
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  get alive(): boolean {
    return !this.#ended;
  }

  /** Sends a request. Never rejects. `timeoutMs`: Infinity waits for as long as the stream lives. */
  request(
    body: RequestBody,
    freshness: Freshness,
    atLeast: WireVersion | undefined,
    timeoutMs: number,
  ): Promise<Answer> {
    if (this.#ended) return Promise.resolve("lost");
    return new Promise((resolve) => {
      const request: Request = { id: this.#nextId, freshness, atLeast, body };
      this.#nextId = (this.#nextId % 0x7fffffff) + 1;
      this.#queue.push({ request, inFlight: { resolve, deadlineMs: performance.now() + timeoutMs } });
      this.#schedule();
    });
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    this.#stream.cancel();
    this.#client.close();
    this.#welcome(undefined);
    const unanswered = [...this.#inFlight.values(), ...this.#queue.map((queued) => queued.inFlight)];
    this.#inFlight.clear();
    this.#queue = [];
    for (const { resolve } of unanswered) resolve("lost");
    this.#events.onEnd(this);
  }

  #schedule(): void {
    if (this.#flushing || this.#draining) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.#ended && !this.#draining && this.#queue.length > 0 && this.#inFlight.size < IN_FLIGHT_MAX) {
      const frame = this.#takeFrame();
      if (!this.#stream.write(frame)) {
        this.#draining = true;
        this.#stream.once("drain", () => {
          this.#draining = false;
          this.#flush();
        });
      }
    }
  }

  #takeFrame(): ClientFrame {
    const requests: Request[] = [];
    let bytes = 0;
    const room = Math.min(this.#queue.length, FRAME_REQUESTS_MAX, IN_FLIGHT_MAX - this.#inFlight.size);
    while (requests.length < room && bytes < FRAME_COMMAND_BYTES_MAX) {
      const { request, inFlight } = this.#queue[requests.length]!;
      requests.push(request);
      this.#inFlight.set(request.id, inFlight);
      if (request.body?.$case === "mutate") bytes += request.body.value.command.length;
    }
    this.#queue = this.#queue.slice(requests.length);
    return { hello: undefined, requests };
  }

  #receive(frame: ServerFrame): void {
    if (this.#ended) return;
    this.#receivedMs = performance.now();
    if (frame.welcome !== undefined) {
      if (!this.#events.accepts(frame.welcome.uuid)) {
        this.close();
        return;
      }
      this.#gotWelcome = true;
      this.#welcome(frame.welcome);
    }
    // Invalidations first: an answer in the same frame may have been read after them, and must not be invalidated.
    if (frame.invalidations.length > 0) this.#events.onInvalidations(frame.invalidations, frame.version);
    if (frame.version !== undefined) this.#events.onVersion(frame.version);
    for (const response of frame.responses) {
      const inFlight = this.#inFlight.get(response.id);
      if (inFlight === undefined) continue;
      this.#inFlight.delete(response.id);
      inFlight.resolve(response);
    }
    if (this.#queue.length > 0) this.#schedule();
  }

  /**
   * Deadlines of requests, and of a silent server: caches are valid only while pushes arrive, so a dead stream must
   * end.
   */
  #tick(): void {
    const now = performance.now();
    const silent = this.#probing && now - this.#receivedMs > SILENCE_MS;
    if (silent || (!this.#gotWelcome && now - this.#openedMs > WELCOME_MS)) this.close();
    for (const [id, { deadlineMs, resolve }] of this.#inFlight) {
      if (deadlineMs > now) continue;
      this.#inFlight.delete(id);
      resolve("timeout");
    }
    if (now - this.#receivedMs < QUIET_MS || this.#probing) return;
    this.#probing = true;
    void this.request({ $case: "keepAlive", value: {} }, 0, undefined, Number.POSITIVE_INFINITY).then(() => {
      this.#probing = false;
    });
  }
}
