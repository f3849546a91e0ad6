import type { ServerDuplexStream, UntypedHandleCall } from "@grpc/grpc-js";
import type { Logger } from "pino";
import {
  type RaftFrame,
  type RaftHello,
  type RaftPeersServer,
  RaftPeersService,
  type RaftWelcome,
  type SnapshotFrame,
  type SnapshotProgress,
} from "../../proto/generated/raft.ts";
import type { GroupMember } from "../group.ts";
import type { Message } from "../raft/messages.ts";
import { type PeerIdentity, refusalOf } from "./hello.ts";
import { PeerLink } from "./peer-link.ts";
import { takeSnapshot } from "./snapshot-stream.ts";
import type { Receiver, SnapshotSource, Transport } from "./transport.ts";
import { decodeMessage } from "./wire.ts";

export interface GrpcTransportOptions {
  readonly volume: string;
  readonly region: string;
  readonly self: number;
  /** host:port that the others reach this one by. */
  readonly address: string;
  /** The volume's uuid, "" while it is not known. */
  readonly cluster?: () => string;
  readonly logger: Logger;
}

const GUESTS_MAX = 8;

/** Since the start. */
export interface TransportCounters {
  /** Streams of another volume, region, member or format. */
  refused: number;
  /** Streams ended for a frame that no member sends. */
  malformed: number;
}

/**
 * Raft over gRPC. The server it is reached by is someone else's:
 * `server.addService(transport.service, transport.handlers)`, with a max_receive_message_length of RAFT_FRAME_BYTES_MAX.
 */
export class GrpcTransport implements Transport {
  readonly service = RaftPeersService;
  readonly handlers: RaftPeersServer & Record<string, UntypedHandleCall>;
  readonly counters: TransportCounters = { refused: 0, malformed: 0 };
  readonly #options: GrpcTransportOptions;
  readonly #identity: PeerIdentity;
  readonly #links = new Map<number, PeerLink>();
  /** To those who came by themselves: removed members, and new ones that are not known here yet. Only while they stay. */
  readonly #guests = new Map<number, PeerLink>();
  #peers: readonly GroupMember[] = [];
  readonly #incoming = new Set<ServerDuplexStream<RaftFrame, RaftWelcome>>();
  #receiver: Receiver | undefined;

  constructor(options: GrpcTransportOptions) {
    this.#options = options;
    this.#identity = {
      volume: options.volume,
      region: options.region,
      self: options.self,
      address: options.address,
      cluster: options.cluster ?? (() => ""),
    };
    this.handlers = {
      exchange: (call: ServerDuplexStream<RaftFrame, RaftWelcome>) => this.#exchange(call),
      install: (call: ServerDuplexStream<SnapshotFrame, SnapshotProgress>) => this.#install(call),
    };
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
  }

  setPeers(peers: readonly GroupMember[]): void {
    this.#peers = peers;
    for (const [id, link] of this.#links) {
      if (peers.some((peer) => peer.id === id && peer.address === link.address)) continue;
      link.stop();
      this.#links.delete(id);
    }
    for (const { id, address } of peers) {
      this.#dismissGuest(id);
      if (!this.#links.has(id)) this.#links.set(id, this.#link(id, address));
    }
  }

  #link(peer: number, address: string): PeerLink {
    const onBroken = () => this.#receiver?.unreachable(peer);
    return new PeerLink({ identity: this.#identity, peer, address, logger: this.#options.logger, onBroken });
  }

  send(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    for (const links of [this.#links, this.#guests]) {
      for (const [peer, link] of links) {
        const own = messages.filter(({ to }) => to === peer);
        if (own.length > 0) link.send(own);
      }
    }
  }

  sendSnapshot(to: number, source: SnapshotSource): Promise<void> {
    const link = this.#links.get(to);
    if (link === undefined) return Promise.reject(new Error(`member ${to} is unknown`));
    return link.sendSnapshot(source);
  }

  async stop(): Promise<void> {
    this.#receiver = undefined;
    for (const link of [...this.#links.values(), ...this.#guests.values()]) link.stop();
    this.#links.clear();
    this.#guests.clear();
    for (const call of this.#incoming) call.end();
    this.#incoming.clear();
  }

  #exchange(call: ServerDuplexStream<RaftFrame, RaftWelcome>): void {
    let from = 0;
    this.#incoming.add(call);
    const close = () => {
      this.#incoming.delete(call);
      this.#dismissGuest(from);
      call.end();
    };
    call.on("data", (frame: RaftFrame) => {
      if (from !== 0) {
        if (!this.#deliver(frame, from)) close();
        return;
      }
      const refusal = this.#refusal(frame.hello, call.getPeer());
      call.write({ refusal: refusal ?? "" });
      if (refusal !== undefined) return close();
      from = frame.hello!.from;
      this.#receiveGuest(from, frame.hello!.address);
    });
    call.on("end", close);
    call.on("error", close);
    call.on("cancelled", close);
  }

  #receiveGuest(id: number, address: string): void {
    if (address === "" || this.#guests.has(id) || this.#peers.some((peer) => peer.id === id)) return;
    if (this.#guests.size < GUESTS_MAX) this.#guests.set(id, this.#link(id, address));
  }

  #dismissGuest(id: number): void {
    this.#guests.get(id)?.stop();
    this.#guests.delete(id);
  }

  #refusal(hello: RaftHello | undefined, peer: string): string | undefined {
    if (this.#receiver === undefined) return "not running";
    const refusal = hello === undefined ? "did not say who it is" : refusalOf(this.#identity, hello);
    if (refusal === undefined) return undefined;
    this.counters.refused++;
    this.#options.logger.warn({ peer, refused: this.counters.refused }, `raft: refused a peer: ${refusal}`);
    return refusal;
  }

  #deliver({ messages }: RaftFrame, from: number): boolean {
    try {
      this.#receiver?.receive(messages.map((message) => decodeMessage(message, from, this.#options.self)));
      return this.#receiver !== undefined;
    } catch (error) {
      this.counters.malformed++;
      this.#options.logger.warn({ from, malformed: this.counters.malformed }, `raft: ${(error as Error).message}`);
      return false;
    }
  }

  #install(call: ServerDuplexStream<SnapshotFrame, SnapshotProgress>): void {
    takeSnapshot(
      call,
      (hello, header) => {
        const refusal = this.#refusal(hello, call.getPeer());
        if (refusal !== undefined) throw new Error(refusal);
        return this.#receiver!.receiveSnapshot(hello!.from, header);
      },
      (error) => this.#options.logger.warn({ reason: error.message }, "raft: a snapshot's stream was ended"),
    );
  }
}
