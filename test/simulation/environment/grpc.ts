/** Replaces @grpc/grpc-js by calls between simulated hosts. Only the part of its API that we use. */
import { currentProcess, currentWorld } from "./globals.ts";
import { type CallStatus, ClientEnd, CODE, type Codec, joinEnds, ServerEnd } from "./grpc-streams.ts";
import { type Network, turnOf } from "./network.ts";
import { type Host, Process } from "./world.ts";

interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: unknown) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (value: unknown) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

type Definition = Readonly<Record<string, Method>>;
type Handler = (call: unknown, done?: (error: Partial<CallStatus> | null, answer?: unknown) => void) => void;
type UnaryCallback = (error: (Error & CallStatus) | null, answer?: unknown) => void;

export const status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
};

export class Metadata {}
export const credentials = { createInsecure: () => ({}) };
export const ServerCredentials = { createInsecure: () => ({}) };

/** Raft's messages: their receiver must tolerate loss, duplication and reordering. */
const UNRELIABLE = /RaftPeers\/Exchange$/;
/** How long a connection attempt without any answer is retried. */
const CONNECT_MS = 10_000;
const CONNECT_AGAIN_MS = 200;

/** The listening servers of each network, by address. */
const listening = new WeakMap<Network, Map<string, Server>>();
let network: Network | undefined;

export function useNetwork(one: Network): void {
  network = one;
  listening.set(one, new Map());
}

function currentNetwork(): Network {
  if (network === undefined) throw new Error("no simulation is running");
  return network;
}

export class Server {
  readonly process: Process = currentProcess();
  readonly #methods = new Map<string, { method: Method; handler: Handler }>();
  readonly #calls = new Set<ServerEnd>();

  addService(definition: Definition, handlers: Readonly<Record<string, Handler>>): void {
    for (const [name, method] of Object.entries(definition)) {
      const handler = handlers[name];
      if (handler !== undefined) this.#methods.set(method.path, { method, handler });
    }
  }

  bindAsync(address: string, _credentials: unknown, done: (error: Error | null, port: number) => void): void {
    listening.get(currentNetwork())!.set(address, this);
    queueMicrotask(() => done(null, Number(address.split(":").at(-1))));
  }

  forceShutdown(): void {
    const bound = listening.get(currentNetwork())!;
    for (const [address, server] of bound) if (server === this) bound.delete(address);
    for (const call of [...this.#calls]) call.serverShutsDown();
  }

  tryShutdown(done: () => void): void {
    this.forceShutdown();
    queueMicrotask(done);
  }

  accept(path: string, call: ServerEnd, request: unknown): void {
    const found = this.#methods.get(path);
    if (found === undefined) {
      call.finish({ code: CODE.unimplemented, details: `no ${path}` });
      return;
    }
    this.#calls.add(call);
    call.onOver = () => this.#calls.delete(call);
    call.request = request;
    if (found.method.responseStream) {
      found.handler(call);
      return;
    }
    found.handler(call, (error, answer) => {
      if (error !== null) call.finish({ code: error.code ?? CODE.unknown, details: error.details ?? "" });
      else {
        call.write(answer);
        call.end();
      }
    });
  }
}

/** A client's channel: a server's address and the calls to it. */
class Channel {
  readonly address: string;
  readonly process = currentProcess();
  readonly #calls = new Set<ClientEnd>();

  constructor(address: string) {
    this.address = address;
  }

  close(): void {
    for (const call of this.#calls) call.cancel();
  }

  call(method: Method, request: unknown): ClientEnd {
    const codec: Codec = { serialize: method.requestSerialize, deserialize: method.responseDeserialize };
    const client = new ClientEnd(this.process, codec);
    if (!this.process.alive) return client;
    this.#calls.add(client);
    client.onOver = () => this.#calls.delete(client);
    const target = hostAt(this.address);
    if (target === undefined) throw new Error(`no host has the address ${this.address}`);
    const bytes = method.requestStream ? undefined : method.requestSerialize(request);
    // Created before the call arrives, to receive what is written meanwhile.
    const server = new ServerEnd(processOf(target), {
      serialize: method.responseSerialize,
      deserialize: method.requestDeserialize,
    });
    joinEnds(currentNetwork(), client, server, UNRELIABLE.test(method.path));
    const decoded = bytes === undefined ? undefined : method.requestDeserialize(bytes);
    connect({ client, server, target, address: this.address, path: method.path, request: decoded });
    return client;
  }
}

interface Connecting {
  readonly client: ClientEnd;
  readonly server: ServerEnd;
  readonly target: Host;
  readonly address: string;
  readonly path: string;
  readonly request: unknown;
}

/** The host's current process; a dead one while the host is down. */
function processOf(host: Host): Process {
  const process = host.process;
  if (process !== undefined) return process;
  const dead = new Process(host);
  dead.alive = false;
  return dead;
}

function connect({ client, server, target, address, path, request }: Connecting): void {
  const on = currentWorld();
  const from = client.process.host;
  const deadlineMs = on.nowMs + CONNECT_MS;
  const arrive = () => {
    if (client.over) return;
    if (currentNetwork().isCut(from, target) || currentNetwork().isCut(target, from)) {
      if (on.nowMs >= deadlineMs) turnOf(client.process, () => client.connectionLost("connect ETIMEDOUT"));
      else on.after(CONNECT_AGAIN_MS, arrive);
      return;
    }
    const listener = listening.get(currentNetwork())!.get(address);
    if (listener === undefined || !listener.process.alive || listener.process !== server.process) {
      on.after(currentNetwork().delayMs(target, from), () =>
        turnOf(client.process, () => client.connectionLost(`connect ECONNREFUSED ${address}`)),
      );
      return;
    }
    turnOf(listener.process, () => listener.accept(path, server, request));
  };
  client.outgoing.send(arrive);
}

function hostAt(address: string): Host | undefined {
  return currentWorld().hosts.get(address.split(":")[0]!);
}

/** Used by the generated code to define its clients. */
export function makeGenericClientConstructor(definition: Definition, serviceName: string): unknown {
  class ServiceClient {
    static readonly service = definition;
    static readonly serviceName = serviceName;
    readonly channel: Channel;

    constructor(address: string) {
      this.channel = new Channel(address);
    }

    close(): void {
      this.channel.close();
    }
  }
  for (const [name, method] of Object.entries(definition)) {
    Object.assign(ServiceClient.prototype, {
      [name](this: ServiceClient, ...args: unknown[]) {
        return start(this.channel, method, args);
      },
    });
  }
  return ServiceClient;
}

export class Client {}

function start(channel: Channel, method: Method, args: unknown[]): ClientEnd {
  const done = typeof args.at(-1) === "function" ? (args.at(-1) as UnaryCallback) : undefined;
  const options = args.find((one) => isOptions(one)) as { deadline?: number } | undefined;
  const client = channel.call(method, method.requestStream ? undefined : args[0]);
  if (!method.requestStream) client.end();
  if (done !== undefined) completeUnary(client, done);
  if (options?.deadline !== undefined) cancelAt(client, options.deadline);
  return client;
}

function isOptions(value: unknown): boolean {
  return typeof value === "object" && value !== null && "deadline" in value;
}

/** Completes a call with a unary response. */
function completeUnary(client: ClientEnd, done: UnaryCallback): void {
  let answer: unknown;
  client.on("data", (message) => {
    answer = message;
  });
  client.onStatus = (ended) => {
    if (ended.code !== CODE.ok) done(Object.assign(new Error(`${ended.code}: ${ended.details}`), ended));
    else queueMicrotask(() => done(null, answer));
  };
}

function cancelAt(client: ClientEnd, deadlineMs: number): void {
  const timer = setTimeout(() => {
    client.sendToPeer((server) => (server as ServerEnd).cancelledByClient());
    client.finish({ code: CODE.deadline, details: "Deadline exceeded" });
  }, deadlineMs - Date.now());
  client.on("close", () => clearTimeout(timer));
}
