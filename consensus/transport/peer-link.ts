import type { ChannelOptions, ClientDuplexStream } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { backoffMs } from "../../base/waiting.ts";
import { channelCredentials } from "../../proto/credentials.ts";
import { RAFT_FRAME_BYTES_MAX } from "../../proto/frames.ts";
import { type RaftFrame, type RaftMessage, RaftPeersClient, type RaftWelcome } from "../../proto/generated/raft.ts";
import type { Message } from "../raft/messages.ts";
import { makeHello, NOT_RUNNING, type PeerIdentity } from "./hello.ts";
import { sendSnapshot } from "./snapshot-stream.ts";
import type { SnapshotSource } from "./transport.ts";
import { encodeMessage } from "./wire.ts";

const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2000;
/** Beyond it, queued messages are dropped: Raft retransmits. */
const QUEUED_BYTES_MAX = 32 << 20;

const CHANNEL: ChannelOptions = {
  "grpc.max_receive_message_length": RAFT_FRAME_BYTES_MAX,
  "grpc.max_send_message_length": RAFT_FRAME_BYTES_MAX,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.min_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  "grpc.keepalive_time_ms": 2000,
  "grpc.keepalive_timeout_ms": 2000,
};

export interface PeerLinkOptions {
  readonly identity: PeerIdentity;
  readonly peer: number;
  readonly address: string;
  readonly logger: Logger;
  /** Messages may have been lost. */
  readonly onUnreachable: () => void;
}

/** The connection to one member: a long-lived stream, reopened whenever it ends. */
export class PeerLink {
  readonly address: string;
  readonly #options: PeerLinkOptions;
  readonly #client: RaftPeersClient;
  #stream: ClientDuplexStream<RaftFrame, RaftWelcome> | undefined;
  /** The peer has accepted the hello of this stream. */
  #isAccepted = false;
  #queue: RaftMessage[] = [];
  #queuedBytes = 0;
  /** gRPC's buffer is full: messages are queued until "drain". */
  #blocked = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;
  #lastRefusal = "";

  constructor(options: PeerLinkOptions) {
    this.address = options.address;
    this.#options = options;
    this.#client = new RaftPeersClient(options.address, channelCredentials(), CHANNEL);
    this.#connect();
  }

  /** Sends all of them in one frame, or drops them. */
  send(messages: readonly Message[]): void {
    if (!this.#isAccepted) return; // not connected: Raft retries by itself
    for (const message of messages) {
      this.#queuedBytes += sizeOf(message);
      this.#queue.push(encodeMessage(message));
    }
    if (this.#queuedBytes > QUEUED_BYTES_MAX) {
      this.#drop();
      this.#options.onUnreachable();
    }
    if (!this.#blocked) this.#flush();
  }

  sendSnapshot(source: SnapshotSource): Promise<void> {
    const hello = makeHello(this.#options.identity, this.#options.peer);
    return sendSnapshot(this.#client.install(), hello, source);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#stream?.cancel();
    this.#client.close();
  }

  #connect(): void {
    const stream = this.#client.exchange();
    this.#stream = stream;
    stream.on("data", ({ refusal }: RaftWelcome) => this.#onWelcome(stream, refusal));
    stream.on("drain", () => {
      this.#blocked = false;
      this.#flush();
    });
    stream.on("error", () => undefined); // "status" follows
    stream.on("status", () => this.#onEnd(stream));
    stream.write({ hello: makeHello(this.#options.identity, this.#options.peer), messages: [] });
  }

  #onWelcome(stream: ClientDuplexStream<RaftFrame, RaftWelcome>, refusal: string): void {
    const { logger, peer, address } = this.#options;
    if (refusal === "") {
      this.#isAccepted = true;
      this.#failures = 0;
      return;
    }
    if (refusal === NOT_RUNNING) {
      stream.cancel(); // its group is about to open
      return;
    }
    if (refusal !== this.#lastRefusal) logger.error({ peer, address }, `raft: refused by a peer: ${refusal}`);
    this.#lastRefusal = refusal;
    this.#failures = Number.POSITIVE_INFINITY; // only an operator can fix it: retry at the longest interval
    stream.cancel();
  }

  #flush(): void {
    if (this.#queue.length === 0 || this.#stream === undefined) return;
    const messages = this.#queue;
    this.#drop();
    this.#blocked = !this.#stream.write({ hello: undefined, messages });
  }

  #drop(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #onEnd(stream: ClientDuplexStream<RaftFrame, RaftWelcome>): void {
    if (this.#stopped || stream !== this.#stream) return;
    this.#stream = undefined;
    this.#blocked = false;
    this.#drop();
    if (this.#isAccepted) this.#options.onUnreachable();
    this.#isAccepted = false;
    this.#retry = setTimeout(() => this.#connect(), backoffMs(this.#failures, RECONNECT_MS_MIN, RECONNECT_MS_MAX));
    this.#failures++;
  }
}

function sizeOf(message: Message): number {
  let bytes = 64;
  if (message.type === "append") for (const entry of message.entries) bytes += entry.encoded.length + 8;
  return bytes;
}
