import type { ServerDuplexStream } from "@grpc/grpc-js";
import { StorageError } from "../../../consensus/storage-error.ts";
import type { Effects } from "../../../core/effects.ts";
import type { Version } from "../../../core/ids.ts";
import { regionNames } from "../../../core/regions.ts";
import {
  type ClientFrame,
  type Hello,
  type Invalidation,
  type MetadataServer,
  type Request,
  type ServerFrame,
  Status,
  type Welcome,
} from "../../../proto/generated/metadata.ts";
import type { RefusalKind, Refusals } from "../../../proto/refusals.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { Turn } from "../../machine/machine.ts";
import type { ServerContext } from "../../region/context.ts";
import { answerRead, type ReadBody } from "./answer-read.ts";
import type { Clients } from "./clients.ts";
import { Mutations } from "./mutations.ts";
import { type AskPrimary, ReadGate } from "./read-gate.ts";
import type { Passage } from "./read-rules.ts";
import { helloError, requestError } from "./request-check.ts";
import { failed, response } from "./responses.ts";
import { SessionStream } from "./session-stream.ts";

export interface MetadataOptions {
  readonly clients: Clients;
  /** False while a primary that has just started does not know whether its epoch is still current. */
  readonly mayServe: () => boolean;
  readonly askPrimary: AskPrimary;
  /** A client has seen this version of the volume with this uuid. */
  readonly onSeen: (version: Version, uuid: string) => void;
  readonly refusals: Refusals;
  /** A reader waits for these slices in this region. */
  readonly onBlocksRequested: (slices: readonly number[]) => void;
}

/** The service of the clients: their reads and changes, and the invalidations that keep their caches valid. */
export class MetadataService {
  readonly #context: ServerContext;
  readonly #options: MetadataOptions;
  readonly #mutations: Mutations;
  readonly #gate: ReadGate;
  readonly #streams = new Set<SessionStream>();

  constructor(context: ServerContext, options: MetadataOptions) {
    this.#context = context;
    this.#options = options;
    this.#mutations = new Mutations(context, options.mayServe);
    this.#gate = new ReadGate(context, options.askPrimary, () => !options.mayServe());
    context.machine.onTurn((turn) => this.#pushInvalidations(turn));
  }

  readonly handlers: MetadataServer = { session: (stream) => this.#session(stream) };

  /** This region is no longer the primary. */
  roleLost(): void {
    this.#mutations.dropWaiting();
  }

  /** Ends every stream: the clients drop their caches, look for the leader, and send it a hello. */
  endStreams(): void {
    this.#mutations.dropWaiting();
    for (const stream of [...this.#streams]) stream.end();
  }

  close(): void {
    this.#gate.close();
    this.endStreams();
  }

  #session(stream: ServerDuplexStream<ClientFrame, ServerFrame>): void {
    const events = {
      onHello: (session: SessionStream, hello: Hello) => this.#hello(session, hello),
      onRequest: (session: SessionStream, request: Request) => this.#request(session, request),
      onRefused: (kind: RefusalKind, peer: string, line: string) => this.#options.refusals.note(kind, peer, line),
      onEnd: (session: SessionStream) => this.#ended(session),
    };
    new SessionStream(stream, events, () => this.#context.machine.version);
  }

  #hello(stream: SessionStream, hello: Hello): Welcome | undefined {
    const { volume, machine, region } = this.#context;
    const error = helloError(hello);
    if (hello.volume !== volume.volume || error !== undefined) {
      stream.refuse(
        error === undefined ? "volume" : "malformed",
        error ?? `this is volume ${volume.volume}, not ${hello.volume}`,
      );
      return undefined;
    }
    this.#streams.add(stream);
    this.#options.clients.hello(hello);
    if (hello.seen !== undefined) this.#options.onSeen(asVersion(hello.seen), hello.uuid);
    return {
      uuid: machine.tree.volume?.uuid ?? "",
      region,
      role: machine.role === "primary" ? "primary" : "mirror",
      regionIndex: machine.regionIndex ?? 0,
      regions: machine.tree.volume === undefined ? [...volume.regions.keys()] : regionNames(machine.tree.volume),
    };
  }

  #ended(stream: SessionStream): void {
    if (!this.#streams.delete(stream)) return;
    this.#mutations.streamEnded(stream);
    this.#options.clients.streamEnded(stream);
  }

  #request(stream: SessionStream, request: Request): void {
    const { id, body } = request;
    const error = requestError(request, stream.session);
    if (body === undefined || error !== undefined) {
      this.#options.refusals.note("malformed", stream.peer, error!);
      stream.respond(failed(id, "EINVAL", this.#context.machine.version));
      return;
    }
    switch (body.$case) {
      case "mutate":
        this.#mutations.handle(stream, id, body.value);
        return;
      case "keepAlive":
        this.#options.clients.heard(stream.session);
        stream.respond(response(id, Status.OK, this.#context.machine.version));
        return;
      case "release":
        this.#options.clients.released(stream.session, body.value.inode, body.value.handles);
        stream.respond(response(id, Status.OK, this.#context.machine.version));
        return;
      case "wantBlocks":
        // A client of another region, whose own servers it cannot reach, means another bucket.
        if (stream.region === this.#context.region) this.#options.onBlocksRequested(body.value.slices);
        stream.respond(response(id, Status.OK, this.#context.machine.version));
        return;
      default:
        this.#read(stream, request, body);
    }
  }

  #read(stream: SessionStream, request: Request, body: ReadBody): void {
    const atLeast = request.atLeast === undefined ? undefined : asVersion(request.atLeast);
    this.#gate.enter(request.freshness, atLeast, (passage) => this.#passed(stream, request.id, body, passage));
  }

  #passed(stream: SessionStream, id: number, body: ReadBody, passage: Passage): void {
    if (stream.ended) return;
    const { machine } = this.#context;
    if (passage === "not-leader") {
      stream.respond(this.#mutations.notLeader(id));
      return;
    }
    if (passage === "behind") {
      stream.respond(response(id, Status.BEHIND, machine.version));
      return;
    }
    const fail = (error: Error) => {
      this.#context.logger.error(error, "a read failed");
      stream.respond(failed(id, "EIO", machine.version));
    };
    try {
      const answer = answerRead(machine, id, body, stream.session);
      if (answer instanceof Promise) answer.then((one) => this.#answered(stream, body, one, passage)).catch(fail);
      else this.#answered(stream, body, answer, passage);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      fail(error); // the store has reported the error too, and the server stops with one line
    }
  }

  #answered(stream: SessionStream, body: ReadBody, answer: ReturnType<typeof response>, passage: Passage): void {
    answer.primaryUnreachable = passage === "unreachable";
    if (body.$case === "open" && answer.status === Status.OK) {
      this.#options.clients.opened(stream.session, body.value.inode, 1);
    }
    stream.respond(answer);
  }

  #pushInvalidations(turn: Turn): void {
    if (this.#streams.size === 0) return;
    if (turn.flipped) {
      this.endStreams();
      return;
    }
    for (const effects of turn.effects) {
      if (effects.touched.length === 0) continue;
      let invalidations: Invalidation[] | undefined;
      for (const stream of this.#streams) {
        if (stream.session === effects.session) continue;
        invalidations ??= invalidationsOf(effects);
        stream.push(invalidations);
      }
    }
  }
}

const NO_NAME = Buffer.alloc(0);

function invalidationsOf({ touched }: Effects): Invalidation[] {
  return touched.map((one) =>
    "inode" in one
      ? { inode: one.inode, parent: 0, name: NO_NAME, content: one.content }
      : { inode: 0, parent: one.parent, name: Buffer.from(one.name, "latin1"), content: false },
  );
}
