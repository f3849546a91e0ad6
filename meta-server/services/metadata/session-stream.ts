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
/** A client that does not read: beyond this its requests are read no more; it may have asked for this much. */
const QUEUED_BYTES_MAX = 32 * 1024 * 1024;
/** Pushes to a client that does not read; beyond this its stream ends, and it drops its caches. */
const QUEUED_PUSHES_MAX = 200_000;

export interface SessionStreamEvents {
  /** @returns what it is answered; undefined when it was refused */
  onHello(stream: SessionStream, hello: Hello): Welcome | undefined;
  onRequest(stream: SessionStream, request: Request): void;
  onRefused(kind: RefusalKind, peer: string, line: string): void;
  onEnd(stream: SessionStream): void;
}

/** One client's stream: what is answered and pushed in one turn of the event loop goes out in one frame. */
export class SessionStream {
  readonly #stream: ServerDuplexStream<ClientFrame, ServerFrame>;
  readonly #events: SessionStreamEvents;
  readonly #version: () => Version;
  #hello: Hello | undefined;
  #responses: Response[] = [];
  #pushes: Invalidation[] = [];
  #frameBytes = 0;
  /** Frames that are complete and wait for the stream. */
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

  /** The session that the client named in its Hello. */
  get session(): number {
    return this.#hello?.session ?? 0;
  }

  /** The region that it is mounted in. */
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
      this.refuse("malformed", "a stream is one hello and then requests");
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

  /** A frame's pushes count before its answers: what was answered before this must be in an earlier frame. */
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

  /** What no client of ours does: told to it, counted, and the stream is over. */
  refuse(kind: RefusalKind, line: string): void {
    this.#events.onRefused(kind, this.#stream.getPeer(), line);
    this.#over();
    this.#stream.emit("error", { code: status.FAILED_PRECONDITION, details: line });
  }

  end(): void {
    if (this.#ended) return;
    this.#over();
    this.#stream.end();
  }

  #over(): void {
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
