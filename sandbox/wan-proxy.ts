import net from "node:net";

export interface WanPath {
  /** The port of 127.0.0.1 to listen on; by default a free one. */
  readonly listen?: number;
  readonly target: { readonly host?: string; readonly port: number };
}

export interface WanOptions {
  /** Added in each direction. */
  readonly delayMs: number;
  /** Per direction and connection; unlimited by default. */
  readonly bytesPerSecond?: number;
}

/** The direction of a cut: both, only towards the target, or only from it. */
export type Direction = "both" | "toTarget" | "fromTarget";

/** What happens to open connections at a partition: they stall (as when packets are dropped), or are reset. */
export type Existing = "stall" | "reset";

/** Flow control, per direction and connection: about 4 MiB in flight per 10 ms of delay, at least 1 MiB. */
const IN_FLIGHT_BYTES_PER_MS = 420_000;
const IN_FLIGHT_BYTES_MIN = 1 << 20;

/**
 * A TCP proxy that adds a WAN's delay to any number of paths. The delay does not limit throughput: each piece is queued
 * with the time at which it is due, and the sender is paused only when more is in flight than the WAN would hold.
 */
export class WanProxy {
  #options: WanOptions;
  readonly #servers: net.Server[] = [];
  readonly #links = new Set<Link>();
  #cut: Direction | undefined;

  private constructor(options: WanOptions) {
    this.#options = options;
  }

  /** @returns the proxy and, path by path, the ports it listens on. */
  static async start(paths: readonly WanPath[], options: WanOptions): Promise<{ proxy: WanProxy; ports: number[] }> {
    const proxy = new WanProxy(options);
    try {
      const ports: number[] = [];
      for (const path of paths) ports.push(await proxy.#listen(path));
      return { proxy, ports };
    } catch (error) {
      await proxy.stop();
      throw error;
    }
  }

  /** Applies to what is sent from now on. */
  setDelay(delayMs: number): void {
    this.#options = { ...this.#options, delayMs };
  }

  /** Applies to what is sent from now on, per direction and connection. */
  setBandwidth(bytesPerSecond: number): void {
    this.#options = { ...this.#options, bytesPerSecond };
  }

  /**
   * Cuts all paths until `heal`. New connections are accepted, but nothing passes, as when packets are dropped. With
   * "reset" open connections are reset.
   */
  partition(direction: Direction = "both", existing: Existing = "stall"): void {
    this.#cut = direction;
    for (const link of [...this.#links]) {
      if (existing === "reset") link.reset();
      else link.cut(direction);
    }
  }

  heal(): void {
    this.#cut = undefined;
    for (const link of this.#links) link.cut(undefined);
  }

  /** The number of open connections. */
  get connections(): number {
    return this.#links.size;
  }

  async stop(): Promise<void> {
    for (const link of [...this.#links]) link.reset();
    await Promise.all(this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  }

  async #listen(path: WanPath): Promise<number> {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client, path));
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path.listen ?? 0, "127.0.0.1", resolve);
    });
    return (server.address() as net.AddressInfo).port;
  }

  #accept(client: net.Socket, { target }: WanPath): void {
    const link: Link = new Link(client, { host: target.host ?? "127.0.0.1", port: target.port }, () => this.#options);
    this.#links.add(link);
    link.onEnd = () => this.#links.delete(link);
    link.cut(this.#cut);
  }
}

/** One connection: a lane in each direction. */
class Link {
  onEnd: () => void = () => {};
  readonly #client: net.Socket;
  readonly #target: net.Socket;
  readonly #toTarget: Lane;
  readonly #fromTarget: Lane;
  #closed = 0;

  constructor(client: net.Socket, target: { host: string; port: number }, options: () => WanOptions) {
    this.#client = client;
    this.#target = net.connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.#toTarget = new Lane(client, this.#target, options);
    this.#fromTarget = new Lane(this.#target, client, options);
    for (const socket of [client, this.#target]) {
      socket.on("error", () => this.reset());
      socket.on("close", () => this.#onClose());
    }
  }

  cut(direction: Direction | undefined): void {
    this.#toTarget.hold(direction === "both" || direction === "toTarget");
    this.#fromTarget.hold(direction === "both" || direction === "fromTarget");
  }

  reset(): void {
    for (const socket of [this.#client, this.#target]) {
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  #onClose(): void {
    if (++this.#closed < 2) return;
    this.#toTarget.stop();
    this.#fromTarget.stop();
    this.onEnd();
  }
}

/** One direction of a connection: a queue of pieces, each with the time at which it is due. */
class Lane {
  readonly #from: net.Socket;
  readonly #to: net.Socket;
  readonly #options: () => WanOptions;
  /** `bytes` undefined: the sender has closed its side. */
  #queue: { bytes: Buffer | undefined; dueMs: number }[] = [];
  #head = 0;
  #inFlightBytes = 0;
  /** When everything queued will have been sent at the given bandwidth. */
  #wireFreeMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #held = false;
  #blocked = false;

  constructor(from: net.Socket, to: net.Socket, options: () => WanOptions) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
    from.on("data", (bytes) => this.#enqueue(bytes as Buffer));
    from.on("end", () => this.#enqueue(undefined));
    to.on("drain", () => {
      this.#blocked = false;
      this.#deliver();
    });
  }

  hold(held: boolean): void {
    this.#held = held;
    if (!held) this.#deliver();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#queue = [];
    this.#head = 0;
  }

  #enqueue(bytes: Buffer | undefined): void {
    const nowMs = performance.now();
    const { delayMs, bytesPerSecond } = this.#options();
    const takesMs = bytesPerSecond === undefined ? 0 : ((bytes?.length ?? 0) / bytesPerSecond) * 1000;
    this.#wireFreeMs = Math.max(this.#wireFreeMs, nowMs) + takesMs;
    this.#queue.push({ bytes, dueMs: this.#wireFreeMs + delayMs });
    this.#inFlightBytes += bytes?.length ?? 0;
    if (this.#inFlightBytes >= this.#windowBytes()) this.#from.pause();
    if (this.#timer === undefined) this.#deliver();
  }

  /** Forwards all pieces that are due, and sets a timer for the next. */
  #deliver(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const nowMs = performance.now();
    let forwarded = false;
    while (this.#head < this.#queue.length && !this.#held && !this.#blocked) {
      const { bytes, dueMs } = this.#queue[this.#head]!;
      if (dueMs > nowMs) {
        this.#timer = setTimeout(() => this.#deliver(), dueMs - nowMs);
        break;
      }
      if (!forwarded && bytes !== undefined) this.#to.cork();
      forwarded = true;
      this.#head++;
      this.#forward(bytes);
    }
    if (forwarded) this.#to.uncork();
    this.#compact();
    if (this.#from.isPaused() && this.#inFlightBytes < this.#windowBytes() / 2) this.#from.resume();
  }

  #forward(bytes: Buffer | undefined): void {
    this.#inFlightBytes -= bytes?.length ?? 0;
    if (!this.#to.writable) return;
    if (bytes === undefined) this.#to.end();
    else if (!this.#to.write(bytes)) this.#blocked = true;
  }

  #compact(): void {
    if (this.#head < 1024 && this.#head < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }

  /** Twice the bandwidth-delay product. */
  #windowBytes(): number {
    const { delayMs, bytesPerSecond } = this.#options();
    const perMs = bytesPerSecond === undefined ? IN_FLIGHT_BYTES_PER_MS : bytesPerSecond / 1000;
    return Math.max(IN_FLIGHT_BYTES_MIN, 2 * perMs * delayMs);
  }
}
