import { Server, type ServerDuplexStream } from "@grpc/grpc-js";
import { serverCredentials } from "../../../proto/credentials.ts";
import { AdminService, RegionStatus } from "../../../proto/generated/admin.ts";
import {
  type ClientFrame,
  type Hello,
  MetadataService,
  type Request,
  Response,
  type ServerFrame,
  Status,
} from "../../../proto/generated/metadata.ts";

export type Script = (request: Request, server: ScriptedServer) => Partial<Response> | "silence" | "hang up";

/** A metadata server whose answers are scripted by a test. */
export class ScriptedServer {
  readonly region: string;
  readonly hellos: Hello[] = [];
  readonly requests: Request[] = [];
  address = "";
  leads = true;
  epoch = 16;
  epochRegion: string;
  script: Script;
  readonly #server = new Server();
  readonly #streams = new Set<ServerDuplexStream<ClientFrame, ServerFrame>>();

  constructor(region: string, epochRegion: string, script: Script) {
    this.region = region;
    this.epochRegion = epochRegion;
    this.script = script;
  }

  async start(): Promise<this> {
    this.#server.addService(AdminService, {
      status: (_: unknown, done: (error: null, status: RegionStatus) => void) => done(null, this.#status()),
    });
    this.#server.addService(MetadataService, {
      session: (stream: ServerDuplexStream<ClientFrame, ServerFrame>) => this.#serve(stream),
    });
    const port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync("127.0.0.1:0", serverCredentials(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    this.address = `127.0.0.1:${port}`;
    return this;
  }

  push(frame: Partial<ServerFrame>): void {
    for (const stream of this.#streams) {
      stream.write({ welcome: undefined, version: undefined, responses: [], invalidations: [], ...frame });
    }
  }

  hangUp(): void {
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }

  stop(): void {
    this.hangUp();
    this.#server.forceShutdown();
  }

  #status(): RegionStatus {
    return RegionStatus.fromPartial({
      volume: "v",
      uuid: "uuid",
      region: this.region,
      member: 1,
      isLeader: this.leads,
      leader: this.leads ? this.address : "",
      version: { epoch: this.epoch, sequence: 1 },
      epochRegion: this.epochRegion,
    });
  }

  #serve(stream: ServerDuplexStream<ClientFrame, ServerFrame>): void {
    this.#streams.add(stream);
    stream.on("error", () => {});
    stream.on("data", (frame: ClientFrame) => {
      if (frame.hello !== undefined) {
        this.hellos.push(frame.hello);
        const welcome = { uuid: "uuid", region: this.region, role: "primary", regionIndex: 0, regions: ["aws", "gcp"] };
        stream.write({ welcome, responses: [], invalidations: [], version: undefined });
      }
      for (const request of frame.requests) this.#answer(stream, request);
    });
  }

  #answer(stream: ServerDuplexStream<ClientFrame, ServerFrame>, request: Request): void {
    if (request.body?.$case === "keepAlive") {
      this.#send(stream, request, { status: Status.OK });
      return;
    }
    this.requests.push(request);
    const answer = this.script(request, this);
    if (answer === "hang up") this.hangUp();
    else if (answer !== "silence") this.#send(stream, request, answer);
  }

  #send(stream: ServerDuplexStream<ClientFrame, ServerFrame>, { id }: Request, answer: Partial<Response>): void {
    const version = { epoch: this.epoch, sequence: 1 };
    const response = Response.fromPartial({ version, ...answer, id } as Response);
    stream.write({ welcome: undefined, responses: [response], invalidations: [], version: undefined });
  }
}
