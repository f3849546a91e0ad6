import type { ClientDuplexStream } from "@grpc/grpc-js";
import { decodeAttributes, decodeOutcome, encodeCommand } from "../../core/codec.ts";
import type { Attributes, Command, Outcome } from "../../core/commands.ts";
import type { ByteString, Inode, RegionIndex, SessionId } from "../../core/ids.ts";
import { channelCredentials } from "../../proto/credentials.ts";
import {
  type ClientFrame,
  Freshness,
  type Invalidation,
  MetadataClient,
  type Request,
  type Response,
  type ServerFrame,
  Status,
  type Welcome,
  type WireVersion,
} from "../../proto/generated/metadata.ts";

type Body = NonNullable<Request["body"]>;

/** A client of one server without retries, redirects or caches: tests see each response as the server sent it. */
export class RawClient {
  readonly session: SessionId;
  readonly invalidations: Invalidation[] = [];
  readonly welcome: Promise<Welcome>;
  readonly #client: MetadataClient;
  readonly #stream: ClientDuplexStream<ClientFrame, ServerFrame>;
  readonly #waiting = new Map<number, (answer: Response) => void>();
  readonly #outstanding = new Set<number>();
  #queue: Request[] = [];
  #nextId = 1;
  #nextRequest = 1;
  ended = false;

  constructor(
    address: string,
    options: {
      session?: number;
      nextRequest?: number;
      seen?: WireVersion;
      uuid?: string;
      volume?: string;
      open?: { inode: number; handles: number }[];
    } = {},
  ) {
    this.session = (options.session ?? Math.floor(Math.random() * 2 ** 48) + 1) as SessionId;
    this.#nextRequest = options.nextRequest ?? 1;
    this.#client = new MetadataClient(address, channelCredentials(), { "grpc.use_local_subchannel_pool": 1 });
    this.#stream = this.#client.session();
    let welcomed: (welcome: Welcome) => void;
    this.welcome = new Promise((resolve) => {
      welcomed = resolve;
    });
    this.#stream.on("data", (frame: ServerFrame) => {
      if (frame.welcome !== undefined) welcomed(frame.welcome);
      this.invalidations.push(...frame.invalidations);
      for (const response of frame.responses) {
        this.#waiting.get(response.id)?.(response);
        this.#waiting.delete(response.id);
      }
    });
    for (const event of ["end", "error"]) this.#stream.on(event, () => this.close());
    const hello = {
      volume: options.volume ?? "test",
      region: "",
      client: "raw",
      session: this.session,
      seen: options.seen,
      uuid: options.uuid ?? "",
      open: options.open ?? [],
    };
    this.#stream.write({ hello, requests: [] });
  }

  /** Resolves with status UNKNOWN if the stream ends first. Never rejects. */
  ask(body: Body, freshness: Freshness = Freshness.COMMITTED, atLeast?: WireVersion): Promise<Response> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      if (this.ended) return resolve(lost(id));
      this.#waiting.set(id, resolve);
      this.#queue.push({ id, freshness, atLeast, body });
      if (this.#queue.length > 1) return;
      setImmediate(() => {
        const requests = this.#queue;
        this.#queue = [];
        if (!this.ended) this.#stream.write({ hello: undefined, requests });
      });
    });
  }

  mutate(command: Command, options: { request?: number; wait?: boolean; lowWater?: number } = {}): Promise<Response> {
    const request = options.request ?? this.#nextRequest++;
    if (options.request === undefined) this.#outstanding.add(request);
    const lowWater = options.lowWater ?? this.#outstanding.values().next().value ?? 0;
    const value = { request, lowWater, command: Buffer.from(encodeCommand(command)), wait: options.wait ?? false };
    return this.ask({ $case: "mutate", value }).finally(() => this.#outstanding.delete(request));
  }

  async open(): Promise<Response> {
    await this.welcome;
    return this.mutate(
      { kind: "openSession", session: this.session, client: `raw-${this.session}`, region: 0 as RegionIndex },
      { request: 0 },
    );
  }

  async make(parent: number, name: string, kind: "file" | "directory" = "file"): Promise<Attributes> {
    const answer = await this.mutate(makeCommand(parent, name, kind));
    const outcome = outcomeOf(answer);
    if (!outcome.ok || outcome.attributes === undefined) throw new Error(`make ${name}: ${JSON.stringify(outcome)}`);
    return outcome.attributes;
  }

  async lookup(parent: number, name: string, freshness: Freshness = Freshness.COMMITTED): Promise<Attributes | string> {
    const answer = await this.ask({ $case: "lookup", value: { parent, name: Buffer.from(name) } }, freshness);
    return answer.status === Status.OK
      ? decodeAttributes(answer.attributes)
      : answer.error || `status ${answer.status}`;
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.#stream.cancel();
    this.#client.close();
    for (const [id, resolve] of this.#waiting) resolve(lost(id));
  }
}

export function makeCommand(parent: number, name: string, inodeKind: "file" | "directory" = "file"): Command {
  return {
    kind: "make",
    parent: parent as Inode,
    name: Buffer.from(name).toString("latin1") as ByteString,
    inodeKind,
    mode: 0o644,
    uid: 0,
    gid: 0,
    device: 0,
    target: "" as ByteString,
  };
}

export function outcomeOf(answer: Response): Outcome {
  if (answer.outcome.length === 0) throw new Error(`no outcome: status ${answer.status} ${answer.error}`);
  return decodeOutcome(answer.outcome);
}

function lost(id: number): Response {
  return { id, status: Status.UNKNOWN, error: "lost" } as Response;
}
