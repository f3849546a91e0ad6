/** How a member reaches the others of its group: gRPC in a server, a simulated network in the tests. */
import type { GroupMember } from "../group.ts";
import type { Message } from "../raft/messages.ts";
import type { SnapshotPosition } from "../raft/raft.ts";

export interface SnapshotHeader extends SnapshotPosition {
  /** Term of the leader that sends it. */
  readonly term: number;
}

export interface Receiver {
  /** Messages from one member, in the order they were sent. */
  receive(messages: readonly Message[]): void;
  /** The way to a member broke or its queue was full: messages to it were lost. */
  unreachable(peer: number): void;
  /** Resolves once the snapshot is in place here (or not needed); rejects when it was not taken. */
  receiveSnapshot(from: number, header: SnapshotHeader, parts: AsyncIterable<Uint8Array>): Promise<void>;
}

export interface Transport {
  start(receiver: Receiver): void;
  /** Whom it reaches from now on, itself left out. Others may still reach it, and are answered. */
  setPeers(peers: readonly GroupMember[]): void;
  /** Never blocks, never throws. May lose messages, may not change them; to one member they keep their order. */
  send(messages: readonly Message[]): void;
  /** Resolves once the receiver has put it in place. */
  sendSnapshot(to: number, header: SnapshotHeader, parts: AsyncIterable<Uint8Array>): Promise<void>;
  stop(): Promise<void>;
}
