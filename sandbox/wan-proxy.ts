import net from "node:net";

export interface WanPath {
  /** Where to listen: a port of 127.0.0.1; 0 or nothing for a free one. */
  readonly listen?: number;
  readonly target: { readonly host?: string; readonly port: number };
}

export interface WanOptions {
  /** Added each way. */
  readonly delayMs: number;
  /** Of each way of each connection; unlimited where missing. */
  readonly bytesPerSecond?: number;
}

/** "both", or only what goes to the target, or only what comes from it. */
export type Direction = "both" | "toTarget" | "fromTarget";

/** What becomes of connections that are open at a partition: bytes wait (as in a network), or the connection ends. */
export type Existing = "stall" | "reset";

/** Bytes under way in one direction of one connection before the sender is held up: 4 MiB per 10 ms, at least 1 MiB. */
const UNDER_WAY_BYTES_PER_MS = 420_000;
const UNDER_WAY_BYTES_MIN = 1 << 20;

/**
 * TCP with a wide area's delay, for as many paths as are wanted. Latency takes no throughput: what arrives is queued with
 * the time at which it is due, in order, and the sender is held up only when more is under way than the pipe would hold.
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

  /** From now on; what is under way keeps its time. */
  setDelay(delayMs: number): void {
    this.#options = { ...this.#options, delayMs };
  }

  /** From now on, of each way of each connection. */
  setBandwidth(bytesPerSecond: number): void {
    this.#options = { ...this.#options, bytesPerSecond };
  }

  /**
   * Cuts all paths until `heal`. New connections are accepted and nothing passes, as when packets are dropped; with
   * "reset" they end at once.
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

  /** Connections that are open now. */
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

/** One connection: two lanes. */
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

/** One direction: bytes in order, each piece with the time at which it is due. */
class Lane {
  readonly #from: net.Socket;
  readonly #to: net.Socket;
  readonly #options: () => WanOptions;
  /** `bytes` undefined: the sender has ended. */
  #queue: { bytes: Buffer | undefined; dueMs: number }[] = [];
  #head = 0;
  #underWayBytes = 0;
  /** When the wire has taken in all that was queued, at its bandwidth. */
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
    this.#underWayBytes += bytes?.length ?? 0;
    if (this.#underWayBytes >= this.#roomBytes()) this.#from.pause();
    if (this.#timer === undefined) this.#deliver();
  }

  /** Gives on all that is due, then sleeps until the next is. */
  #deliver(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const nowMs = performance.now();
    let given = false;
    while (this.#head < this.#queue.length && !this.#held && !this.#blocked) {
      const { bytes, dueMs } = this.#queue[this.#head]!;
      if (dueMs > nowMs) {
        this.#timer = setTimeout(() => this.#deliver(), dueMs - nowMs);
        break;
      }
      if (!given && bytes !== undefined) this.#to.cork();
      given = true;
      this.#head++;
      this.#give(bytes);
    }
    if (given) this.#to.uncork();
    this.#compact();
    if (this.#from.isPaused() && this.#underWayBytes < this.#roomBytes() / 2) this.#from.resume();
  }

  #give(bytes: Buffer | undefined): void {
    this.#underWayBytes -= bytes?.length ?? 0;
    if (!this.#to.writable) return;
    if (bytes === undefined) this.#to.end();
    else if (!this.#to.write(bytes)) this.#blocked = true;
  }

  #compact(): void {
    if (this.#head < 1024 && this.#head < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }

  /** What the wire holds at its delay, and as much again. */
  #roomBytes(): number {
    const { delayMs, bytesPerSecond } = this.#options();
    const perMs = bytesPerSecond === undefined ? UNDER_WAY_BYTES_PER_MS : bytesPerSecond / 1000;
    return Math.max(UNDER_WAY_BYTES_MIN, 2 * perMs * delayMs);
  }
}
