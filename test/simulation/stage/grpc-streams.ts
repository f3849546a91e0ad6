/** Both ends of a call, as grpc-js shows them: Node's own object streams over the simulated network. */
import { Duplex } from "node:stream";
import { soon } from "./globals.ts";
import { type Network, type Pipe, turnOf } from "./network.ts";
import type { Life } from "./world.ts";

export interface CallStatus {
  readonly code: number;
  readonly details: string;
}

export const CODE = { ok: 0, cancelled: 1, unknown: 2, deadline: 4, unimplemented: 12, internal: 13, unavailable: 14 };
/** Bytes that are sent and have not arrived: beyond it the writer waits. */
const WINDOW_BYTES = 64 * 1024;
/** After so long keep-alives find out that a machine is gone. */
const SILENCE_MS = { low: 1_000, high: 8_000 };

export interface Codec {
  serialize(value: unknown): Buffer;
  deserialize(bytes: Buffer): unknown;
}

/** One end: what is written here comes out at the other. */
export abstract class End extends Duplex {
  readonly life: Life;
  readonly #codec: Codec;
  #out: Pipe | undefined;
  #other: End | undefined;
  #arrived: unknown[] = [];
  #arrivedEnd = false;
  #wanted = false;
  #sentBytes = 0;
  #first = true;
  #whenRoom: (() => void) | undefined;
  over = false;

  constructor(life: Life, codec: Codec) {
    super({ objectMode: true, autoDestroy: false });
    this.life = life;
    this.#codec = codec;
    life.onEnd.push(() => this.lifeEnded());
  }

  join(other: End, out: Pipe): void {
    this.#other = other;
    this.#out = out;
  }

  get way(): Pipe {
    return this.#out!;
  }

  get other(): End {
    return this.#other!;
  }

  override _write(message: unknown, _encoding: string, done: () => void): void {
    if (this.life.alive) this.life.host.onStep("before a message");
    if (this.over || !this.life.alive) {
      done();
      return;
    }
    const bytes = this.#codec.serialize(message);
    const other = this.#other!;
    const isFirst = this.#first;
    this.#first = false;
    // What may be lost takes no room: nobody would ever hear that there is room again.
    const counted = this.#out!.options.unreliable ? 0 : bytes.length;
    this.#sentBytes += counted;
    const take = () => {
      this.#sentBytes -= counted;
      if (this.#whenRoom !== undefined && this.#sentBytes < WINDOW_BYTES) {
        const go = this.#whenRoom;
        this.#whenRoom = undefined;
        turnOf(this.life, go);
      }
      turnOf(other.life, () => other.receive(bytes));
    };
    this.#out!.send(take, isFirst);
    if (this.#sentBytes < WINDOW_BYTES) done();
    else this.#whenRoom = done;
  }

  override _read(): void {
    this.#wanted = true;
    this.#give();
  }

  receive(bytes: Buffer): void {
    if (this.over) return;
    this.#arrived.push(this.#codec.deserialize(bytes));
    if (this.#wanted) this.#give();
  }

  takeEnd(): void {
    this.#arrivedEnd = true;
    this.#give();
  }

  #give(): void {
    while (this.#wanted && this.#arrived.length > 0) this.#wanted = this.push(this.#arrived.shift());
    if (this.#arrived.length === 0 && this.#arrivedEnd) {
      this.#arrivedEnd = false;
      this.push(null);
    }
  }

  /** The other end learns it on the way that the messages take, behind them. */
  tell(what: (other: End) => void): void {
    const other = this.#other!;
    this.#out!.send(() => turnOf(other.life, () => what(other)));
  }

  /** The process is gone: its system resets the connection, unless that is gone too and the silence must be noticed. */
  protected goneFrom(reset: (other: End) => void): void {
    const other = this.#other;
    if (other === undefined) return;
    const { world } = this.life.host;
    if (!this.life.silentEnd) this.tell(reset);
    else
      world.after(world.chance.between(SILENCE_MS.low, SILENCE_MS.high), () => turnOf(other.life, () => reset(other)));
  }

  /** Nothing more goes out or comes in. */
  shut(): void {
    this.over = true;
    const waiting = this.#whenRoom;
    this.#whenRoom = undefined;
    waiting?.();
    this.onOver();
  }

  /** Both directions are of no more use. */
  hangUp(): void {
    this.way.close();
    this.other.way.close();
  }

  onOver: () => void = () => {};

  getPeer(): string {
    return this.#other!.life.host.name;
  }

  abstract connectionLost(details: string): void;
  abstract lifeEnded(): void;
}

export class ClientEnd extends End {
  #told = false;
  onStatus: (status: CallStatus) => void = () => {};

  override _final(done: () => void): void {
    if (!this.over) this.tell((server) => server.takeEnd());
    done();
  }

  /** An iteration that ends early destroys what it iterates over. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#told) this.cancel();
    done(error);
  }

  cancel(): void {
    if (this.over) return;
    this.tell((server) => (server as ServerEnd).cancelledByClient());
    this.over = true;
    soon(() => this.finish({ code: CODE.cancelled, details: "Cancelled on client" }));
  }

  /** The call's last word, from the server or from what happened to the way there. */
  finish(status: CallStatus): void {
    if (this.#told) return;
    this.#told = true;
    if (status.code !== CODE.cancelled && status.code !== CODE.deadline) this.hangUp();
    if (status.code === CODE.ok) {
      this.takeEnd();
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

  lifeEnded(): void {
    if (this.over) return;
    this.over = true;
    this.goneFrom((server) => (server as ServerEnd).cancelledByClient());
  }
}

export class ServerEnd extends End {
  request: unknown;
  cancelled = false;
  readonly metadata = {};
  #ended = false;

  override _final(done: () => void): void {
    this.finish({ code: CODE.ok, details: "" });
    done();
  }

  /** The answer's status goes out behind all that was written. */
  finish(status: CallStatus): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.over) this.tell((client) => (client as ClientEnd).finish(status));
    this.shut();
  }

  override _destroy(error: (Error & { code?: number; details?: string }) | null, done: () => void): void {
    this.finish({ code: error?.code ?? CODE.unknown, details: error?.details ?? error?.message ?? "" });
    done();
  }

  sendMetadata(): void {}

  cancelledByClient(): void {
    if (this.#ended) return;
    this.hangUp();
    this.#cancel();
  }

  serverShutsDown(): void {
    if (this.#ended) return;
    this.tell((client) => client.connectionLost("the server shuts down"));
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

  lifeEnded(): void {
    if (this.over) return;
    this.over = true;
    this.goneFrom((client) => client.connectionLost("read ECONNRESET"));
  }
}

/** Joins the two ends of a call by two pipes; where one breaks, both ends learn it, each in its time. */
export function joinEnds(network: Network, client: ClientEnd, server: ServerEnd, unreliable: boolean): void {
  const { world } = network;
  const lost = (end: End) => () => {
    const details = "the connection was lost";
    turnOf(end.life, () => end.connectionLost(details));
    world.after(world.chance.between(100, 5_000), () =>
      turnOf(end.other.life, () => end.other.connectionLost(details)),
    );
  };
  const from = client.life.host;
  const to = server.life.host;
  client.join(server, network.pipe({ from, to, unreliable, onBroken: lost(client) }));
  server.join(client, network.pipe({ from: to, to: from, unreliable, onBroken: lost(server) }));
}
