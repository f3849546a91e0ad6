import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import type { Version } from "../../../core/ids.ts";
import { BadFrame } from "../../../proto/frames.ts";
import type {
  ClientFrame,
  Hello,
  Invalidation,
  Request,
  Response,
  ServerFrame,
  Welcome,
} from "../../../proto/generated/metadata.ts";
import type { RefusalKind } from "../../../proto/refusals.ts";
import { responseBytes } from "./responses.ts";

const FRAME_BYTES_MAX = 1024 * 1024;
/** Unsent responses to a client that does not read. With more than this queued, its requests are not read either. */
const QUEUED_BYTES_MAX = 32 * 1024 * 1024;
/** Unsent invalidations to a client that does not read. With more than this queued its stream ends, and it drops its caches. */
const QUEUED_PUSHES_MAX = 200_000;

export interface SessionStreamEvents {
  /** @returns the welcome, or undefined if the stream was refused */
  onHello(stream: SessionStream, hello: Hello): Welcome | undefined;
  onRequest(stream: SessionStream, request: Request): void;
  onRefused(kind: RefusalKind, peer: string, line: string): void;
  onEnd(stream: SessionStream): void;
}

/** One client's stream. The responses and invalidations of one turn of the event loop are sent in one frame. */
export class SessionStream {
  readonly #stream: ServerDuplexStream<ClientFrame, ServerFrame>;
  readonly #events: SessionStreamEvents;
  readonly #version: () => Version;
  #hello: Hello | undefined;
  #responses: Response[] = [];
  #pushes: Invalidation[] = [];
  #frameBytes = 0;
  /** Complete frames that wait for the stream. */
  #sealed: ServerFrame[] = [];
  #queuedBytes = 0;
  #queuedPushes = 0;
  #scheduled = false;
  #draining = false;
  #ended = false;

  constructor(
    stream: ServerDuplexStream<ClientFrame, ServerFrame>,
    events: SessionStreamEvents,
    version: () => Version,
  ) {
    this.#stream = stream;
    this.#events = events;
    this.#version = version;
    stream.on("data", (frame: ClientFrame | BadFrame) => this.#receive(frame));
    stream.on("drain", () => this.#drained());
    for (const event of ["end", "error", "cancelled", "close"]) stream.on(event, () => this.end());
  }

  /** The session that the client named in its hello; 0 before it. */
  get session(): number {
    return this.#hello?.session ?? 0;
  }

  /** The region that the client is mounted in. */
  get region(): string {
    return this.#hello?.region ?? "";
  }

  get peer(): string {
    return this.#stream.getPeer();
  }

  get ended(): boolean {
    return this.#ended;
  }

  #receive(frame: ClientFrame | BadFrame): void {
    if (this.#ended) return;
    if (frame instanceof BadFrame) {
      this.refuse(frame.kind, frame.line);
      return;
    }
    if ((frame.hello === undefined) === (this.#hello === undefined)) {
      this.refuse("malformed", "a stream must send one hello first, and then requests");
      return;
    }
    if (frame.hello !== undefined) {
      this.#hello = frame.hello;
      const welcome = this.#events.onHello(this, frame.hello);
      if (welcome === undefined) return;
      this.#stream.write({ welcome, responses: [], invalidations: [], version: this.#version() });
    }
    for (const request of frame.requests) this.#events.onRequest(this, request);
  }

  respond(answer: Response): void {
    if (this.#ended) return;
    const bytes = responseBytes(answer);
    if (this.#frameBytes + bytes > FRAME_BYTES_MAX) this.#seal();
    this.#responses.push(answer);
    this.#frameBytes += bytes;
    this.#queuedBytes += bytes;
    if (this.#queuedBytes > QUEUED_BYTES_MAX) this.#stream.pause();
    this.#schedule();
  }

  /**
   * A client handles a frame's invalidations before its responses: responses that are older than these go into an earlier
   * frame.
   */
  push(invalidations: readonly Invalidation[]): void {
    if (this.#ended) return;
    if (this.#responses.length > 0) this.#seal();
    this.#queuedPushes += invalidations.length;
    if (this.#queuedPushes > QUEUED_PUSHES_MAX) {
      this.end();
      return;
    }
    for (const invalidation of invalidations) this.#pushes.push(invalidation);
    this.#schedule();
  }

  /** The client broke the protocol: it gets the reason, the refusal is counted, and the stream ends. */
  refuse(kind: RefusalKind, line: string): void {
    this.#events.onRefused(kind, this.#stream.getPeer(), line);
    this.#finish();
    this.#stream.emit("error", { code: status.FAILED_PRECONDITION, details: line });
  }

  end(): void {
    if (this.#ended) return;
    this.#finish();
    this.#stream.end();
  }

  #finish(): void {
    this.#ended = true;
    this.#sealed = [];
    this.#responses = [];
    this.#pushes = [];
    this.#events.onEnd(this);
  }

  #seal(): void {
    if (this.#responses.length === 0 && this.#pushes.length === 0) return;
    this.#sealed.push({
      welcome: undefined,
      responses: this.#responses,
      invalidations: this.#pushes,
      version: this.#version(),
    });
    this.#responses = [];
    this.#pushes = [];
    this.#frameBytes = 0;
  }

  #schedule(): void {
    if (this.#scheduled || this.#draining) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #drained(): void {
    this.#draining = false;
    this.#flush();
    if (!this.#draining) this.#stream.resume();
  }

  #flush(): void {
    if (this.#ended || this.#draining) return;
    this.#seal();
    const frames = this.#sealed;
    let next = 0;
    while (next < frames.length && !this.#draining) this.#draining = !this.#stream.write(frames[next++]!);
    this.#sealed = frames.slice(next);
    if (this.#sealed.length > 0) return;
    this.#queuedBytes = 0;
    this.#queuedPushes = 0;
  }
}
