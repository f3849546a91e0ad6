/** Both ends of a call with grpc-js's interface: Node's object streams over the simulated network. */
import { Duplex } from "node:stream";
import { nextTurn } from "./globals.ts";
import { type Network, type Pipe, turnOf } from "./network.ts";
import type { Process } from "./world.ts";

export interface CallStatus {
  readonly code: number;
  readonly details: string;
}

export const CODE = { ok: 0, cancelled: 1, unknown: 2, deadline: 4, unimplemented: 12, internal: 13, unavailable: 14 };
/** Flow control: with this many bytes in flight the writer waits. */
const WINDOW_BYTES = 64 * 1024;
/** After this time keep-alives detect that the other host is down. */
const KEEPALIVE_MS = { low: 1_000, high: 8_000 };

export interface Codec {
  serialize(value: unknown): Buffer;
  deserialize(bytes: Buffer): unknown;
}

/** One end of a call: what is written here is read at the other. */
export abstract class End extends Duplex {
  readonly process: Process;
  readonly #codec: Codec;
  #out: Pipe | undefined;
  #other: End | undefined;
  #arrived: unknown[] = [];
  #arrivedEnd = false;
  #reading = false;
  #sentBytes = 0;
  #first = true;
  #onRoom: (() => void) | undefined;
  over = false;

  constructor(process: Process, codec: Codec) {
    super({ objectMode: true, autoDestroy: false });
    this.process = process;
    this.#codec = codec;
    process.onEnd.push(() => this.processEnded());
  }

  join(other: End, out: Pipe): void {
    this.#other = other;
    this.#out = out;
  }

  get outgoing(): Pipe {
    return this.#out!;
  }

  get other(): End {
    return this.#other!;
  }

  override _write(message: unknown, _encoding: string, done: () => void): void {
    if (this.process.alive) this.process.host.onCrashPoint("before a message");
    if (this.over || !this.process.alive) {
      done();
      return;
    }
    const bytes = this.#codec.serialize(message);
    const other = this.#other!;
    const isFirst = this.#first;
    this.#first = false;
    // An unreliable message does not count: if it is lost, its bytes would never be released.
    const counted = this.#out!.options.unreliable ? 0 : bytes.length;
    this.#sentBytes += counted;
    const take = () => {
      this.#sentBytes -= counted;
      if (this.#onRoom !== undefined && this.#sentBytes < WINDOW_BYTES) {
        const go = this.#onRoom;
        this.#onRoom = undefined;
        turnOf(this.process, go);
      }
      turnOf(other.process, () => other.receive(bytes));
    };
    this.#out!.send(take, isFirst);
    if (this.#sentBytes < WINDOW_BYTES) done();
    else this.#onRoom = done;
  }

  override _read(): void {
    this.#reading = true;
    this.#deliver();
  }

  receive(bytes: Buffer): void {
    if (this.over) return;
    this.#arrived.push(this.#codec.deserialize(bytes));
    if (this.#reading) this.#deliver();
  }

  receiveEnd(): void {
    this.#arrivedEnd = true;
    this.#deliver();
  }

  #deliver(): void {
    while (this.#reading && this.#arrived.length > 0) this.#reading = this.push(this.#arrived.shift());
    if (this.#arrived.length === 0 && this.#arrivedEnd) {
      this.#arrivedEnd = false;
      this.push(null);
    }
  }

  /** Runs at the other end after every message sent before. */
  sendToPeer(what: (other: End) => void): void {
    const other = this.#other!;
    this.#out!.send(() => turnOf(other.process, () => what(other)));
  }

  /**
   * The process has ended: its kernel resets the connection, unless the host lost power and the peer must notice the
   * silence.
   */
  protected resetPeer(reset: (other: End) => void): void {
    const other = this.#other;
    if (other === undefined) return;
    const { world } = this.process.host;
    if (!this.process.powerLost) this.sendToPeer(reset);
    else
      world.after(world.prng.between(KEEPALIVE_MS.low, KEEPALIVE_MS.high), () =>
        turnOf(other.process, () => reset(other)),
      );
  }

  /** Ends all sending and receiving. */
  shut(): void {
    this.over = true;
    const waiting = this.#onRoom;
    this.#onRoom = undefined;
    waiting?.();
    this.onOver();
  }

  /** Closes both directions. */
  closePipes(): void {
    this.outgoing.close();
    this.other.outgoing.close();
  }

  onOver: () => void = () => {};

  getPeer(): string {
    return this.#other!.process.host.name;
  }

  abstract connectionLost(details: string): void;
  abstract processEnded(): void;
}

export class ClientEnd extends End {
  #ended = false;
  onStatus: (status: CallStatus) => void = () => {};

  override _final(done: () => void): void {
    if (!this.over) this.sendToPeer((server) => server.receiveEnd());
    done();
  }

  /** A `for await` that ends early destroys the stream. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#ended) this.cancel();
    done(error);
  }

  cancel(): void {
    if (this.over) return;
    this.sendToPeer((server) => (server as ServerEnd).cancelledByClient());
    this.over = true;
    nextTurn(() => this.finish({ code: CODE.cancelled, details: "Cancelled on client" }));
  }

  /** Ends the call with its status, from the server or because the connection broke. */
  finish(status: CallStatus): void {
    if (this.#ended) return;
    this.#ended = true;
    if (status.code !== CODE.cancelled && status.code !== CODE.deadline) this.closePipes();
    if (status.code === CODE.ok) {
      this.receiveEnd();
      this.once("end", () => this.destroy());
    }
    this.shut();
    this.onStatus(status);
    if (status.code !== CODE.ok) {
      const error = Object.assign(new Error(`${status.code}: ${status.details}`), status, { metadata: {} });
      this.destroy(this.listenerCount("error") > 0 ? error : undefined);
    }
    this.emit("status", status);
  }

  connectionLost(details: string): void {
    this.finish({ code: CODE.unavailable, details });
  }

  processEnded(): void {
    if (this.over) return;
    this.over = true;
    this.resetPeer((server) => (server as ServerEnd).cancelledByClient());
  }
}

export class ServerEnd extends End {
  request: unknown;
  cancelled = false;
  readonly metadata = {};
  #ended = false;
  #status: CallStatus = { code: CODE.ok, details: "" };

  constructor(process: Process, codec: Codec) {
    super(process, codec);
    // As in grpc-js: the status goes with the end of the stream, so that one which was destroyed never sends it.
    this.on("error", ({ code, details, message }: Error & Partial<CallStatus>) => {
      this.#status = { code: code ?? CODE.unknown, details: details ?? message };
      this.end();
    });
  }

  override _final(done: () => void): void {
    this.finish(this.#status);
    done();
  }

  /** Sends the status after everything that was written. */
  finish(status: CallStatus): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.over) this.sendToPeer((client) => (client as ClientEnd).finish(status));
    this.shut();
  }

  sendMetadata(): void {}

  cancelledByClient(): void {
    if (this.#ended) return;
    this.closePipes();
    this.#cancel();
  }

  serverShutsDown(): void {
    if (this.#ended) return;
    this.sendToPeer((client) => client.connectionLost("the server shuts down"));
    this.#cancel();
  }

  #cancel(): void {
    this.cancelled = true;
    this.#ended = true;
    this.shut();
    this.emit("cancelled");
    this.destroy();
  }

  connectionLost(): void {
    this.cancelledByClient();
  }

  processEnded(): void {
    if (this.over) return;
    this.over = true;
    this.resetPeer((client) => client.connectionLost("read ECONNRESET"));
  }
}

/** Connects the two ends of a call by two pipes. When one breaks, each end is notified at its own time. */
export function joinEnds(network: Network, client: ClientEnd, server: ServerEnd, unreliable: boolean): void {
  const { world } = network;
  const lost = (end: End) => () => {
    const details = "the connection was lost";
    turnOf(end.process, () => end.connectionLost(details));
    world.after(world.prng.between(100, 5_000), () =>
      turnOf(end.other.process, () => end.other.connectionLost(details)),
    );
  };
  const from = client.process.host;
  const to = server.process.host;
  client.join(server, network.pipe({ from, to, unreliable, onBroken: lost(client) }));
  server.join(client, network.pipe({ from: to, to: from, unreliable, onBroken: lost(server) }));
}
