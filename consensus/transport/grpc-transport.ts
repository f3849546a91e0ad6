import type { ServerDuplexStream, UntypedHandleCall } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { BadFrame, tolerant } from "../../proto/frames.ts";
import {
  type RaftFrame,
  type RaftHello,
  type RaftPeersServer,
  RaftPeersService,
  type RaftWelcome,
  type SnapshotFrame,
  type SnapshotProgress,
} from "../../proto/generated/raft.ts";
import type { Refusals } from "../../proto/refusals.ts";
import type { GroupMember } from "../group.ts";
import type { Message } from "../raft/messages.ts";
import { type Mismatch, mismatchOf, NOT_RUNNING, type PeerIdentity } from "./hello.ts";
import { PeerLink } from "./peer-link.ts";
import { receiveSnapshot } from "./snapshot-stream.ts";
import type { Receiver, SnapshotSource, Transport } from "./transport.ts";
import { decodeMessage } from "./wire.ts";

export interface GrpcTransportOptions {
  readonly volume: string;
  readonly region: string;
  readonly self: number;
  /** host:port at which the other members reach this one. */
  readonly address: string;
  /** The volume's uuid; "" while it is unknown. */
  readonly cluster?: () => string;
  /** The highest feature level that this member knows, and the one that its peers must know. */
  readonly supports?: number;
  readonly required?: () => number;
  readonly logger: Logger;
  readonly refusals: Refusals;
}

/** Bound of the links to servers outside the configuration. */
const GUESTS_MAX = 8;

/** `tolerant`: a frame that cannot be decoded reaches the handler, and is counted. gRPC alone would just end the stream. */
const SERVICE = {
  ...RaftPeersService,
  exchange: tolerant(RaftPeersService.exchange),
  install: tolerant(RaftPeersService.install),
};

/** For so long after the last frame of a member, no other process may claim to be that member. */
const CLAIM_MS = 1_000;

/** The process that has connected as a member. */
interface Claim {
  /** From its hello. */
  readonly life: number;
  /** host:port of its connection. */
  readonly peer: string;
  lastFrameMs: number;
  /** Number of open streams. */
  streams: number;
}

/**
 * Raft over gRPC. The gRPC server is the caller's: `server.addService(transport.service, transport.handlers)`, with a
 * max_receive_message_length above RAFT_FRAME_BYTES_MAX.
 */
export class GrpcTransport implements Transport {
  readonly service = SERVICE;
  readonly handlers: RaftPeersServer & Record<string, UntypedHandleCall>;
  readonly #options: GrpcTransportOptions;
  readonly #identity: PeerIdentity;
  readonly #links = new Map<number, PeerLink>();
  /**
   * Links back to servers that are connected but not in the configuration: removed members, and those whose addition
   * has not reached this log yet.
   */
  readonly #guests = new Map<number, PeerLink>();
  readonly #claims = new Map<number, Claim>();
  #peers: readonly GroupMember[] = [];
  readonly #incoming = new Set<ServerDuplexStream<RaftFrame, RaftWelcome>>();
  #receiver: Receiver | undefined;
  /** The life of this process, and those of the members that are connected (RaftHello.life), by member. */
  readonly lives: { readonly own: number; readonly heard: ReadonlyMap<number, number> };

  constructor(options: GrpcTransportOptions) {
    this.#options = options;
    this.#identity = {
      volume: options.volume,
      region: options.region,
      self: options.self,
      address: options.address,
      cluster: options.cluster ?? (() => ""),
      life: Math.floor(Math.random() * 2 ** 48),
      supports: options.supports ?? 0,
      required: options.required ?? (() => 0),
    };
    const claims = this.#claims;
    this.lives = {
      own: this.#identity.life,
      get heard() {
        return new Map([...claims].map(([member, { life }]) => [member, life]));
      },
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
      this.#links.delete(id);
      // A leader that removes itself still needs this member's responses.
      if (this.#claims.has(id) && !peers.some((peer) => peer.id === id)) this.#guests.set(id, link);
      else link.stop();
    }
    for (const { id, address } of peers) {
      this.#removeGuest(id);
      if (!this.#links.has(id)) this.#links.set(id, this.#link(id, address));
    }
  }

  #link(peer: number, address: string): PeerLink {
    const onUnreachable = () => this.#receiver?.unreachable(peer);
    return new PeerLink({ identity: this.#identity, peer, address, logger: this.#options.logger, onUnreachable });
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
    if (link === undefined) return Promise.reject(new Error(`no connection to member ${to}`));
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
    let claim: Claim | undefined;
    this.#incoming.add(call);
    const close = () => {
      if (!this.#incoming.delete(call)) return;
      call.end();
      if (claim === undefined || --claim.streams > 0 || this.#claims.get(from) !== claim) return;
      this.#claims.delete(from);
      this.#removeGuest(from);
    };
    call.on("data", (frame: RaftFrame | BadFrame) => {
      if (frame instanceof BadFrame) {
        this.#options.refusals.note(frame.kind, call.getPeer(), frame.line);
        return close();
      }
      if (claim !== undefined) {
        claim.lastFrameMs = performance.now();
        if (!this.#deliver(frame, from)) close();
        return;
      }
      const refusal = this.#refusal(frame.hello, call.getPeer());
      call.write({ refusal: refusal ?? "" });
      if (refusal !== undefined) return close();
      from = frame.hello!.from;
      claim = this.#claim(from, frame.hello!.life, call.getPeer());
      this.#admitGuest(from, frame.hello!.address);
    });
    call.on("end", close);
    call.on("error", close);
    call.on("cancelled", close);
  }

  #claim(from: number, life: number, peer: string): Claim {
    const known = this.#claims.get(from);
    const claim = known?.life === life ? known : { life, peer, lastFrameMs: 0, streams: 0 };
    claim.lastFrameMs = performance.now();
    claim.streams++;
    this.#claims.set(from, claim);
    return claim;
  }

  #admitGuest(id: number, address: string): void {
    if (address === "" || this.#guests.has(id) || this.#peers.some((peer) => peer.id === id)) return;
    if (this.#guests.size < GUESTS_MAX) this.#guests.set(id, this.#link(id, address));
  }

  #removeGuest(id: number): void {
    this.#guests.get(id)?.stop();
    this.#guests.delete(id);
  }

  #refusal(hello: RaftHello | undefined, peer: string): string | undefined {
    if (this.#receiver === undefined) return NOT_RUNNING;
    const mismatch = this.#mismatch(hello);
    if (mismatch !== undefined) this.#options.refusals.note(mismatch.kind, peer, mismatch.line);
    return mismatch?.line;
  }

  #mismatch(hello: RaftHello | undefined): Mismatch | undefined {
    if (hello === undefined) return { kind: "malformed", line: "sent no hello" };
    const { from, life } = hello;
    const other = this.#claims.get(from);
    const isClaimed = other !== undefined && other.life !== life && performance.now() - other.lastFrameMs < CLAIM_MS;
    if (!isClaimed) return mismatchOf(this.#identity, hello);
    return { kind: "member", line: `claims to be member ${from}, as does another server at ${other.peer}` };
  }

  #deliver(frame: RaftFrame, from: number): boolean {
    try {
      this.#receiver?.receive(frame.messages.map((message) => decodeMessage(message, from, this.#options.self)));
      return this.#receiver !== undefined;
    } catch (error) {
      this.#options.refusals.note("malformed", from, (error as Error).message);
      return false;
    }
  }

  #install(call: ServerDuplexStream<SnapshotFrame, SnapshotProgress>): void {
    receiveSnapshot(
      call,
      (hello, header) => {
        const refusal = this.#refusal(hello, call.getPeer());
        if (refusal !== undefined) throw new Error(refusal);
        return this.#receiver!.receiveSnapshot(hello!.from, header);
      },
      (error) => {
        if (error instanceof RangeError) this.#options.refusals.note("snapshot", call.getPeer(), error.message);
        else this.#options.logger.warn({ reason: error.message }, "raft: snapshot not accepted");
      },
    );
  }
}
