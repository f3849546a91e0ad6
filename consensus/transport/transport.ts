/** How a member reaches the others of its group: gRPC in a server, a simulated network in the tests. */
import type { GroupMember } from "../group.ts";
import type { SnapshotPosition } from "../raft/input.ts";
import type { Message } from "../raft/messages.ts";

export interface SnapshotHeader extends SnapshotPosition {
  /** Term of the leader that sends it. */
  readonly term: number;
  /** Names this snapshot among all that its sender makes: what has arrived of it counts only for the same. */
  readonly transfer: number;
}

/** A snapshot to be sent, in parts counted from 0. It outlives the stream that carries it. */
export interface SnapshotSource {
  readonly header: SnapshotHeader;
  /** Those from number `from` on. Throws RangeError for one that the receiver has already taken. */
  parts(from: number): AsyncIterable<Uint8Array>;
  /** The receiver holds so many: they need not be kept. */
  taken(parts: number): void;
}

/** The receiver does not take it: another try of the same snapshot would end like this one. */
export class SnapshotRefused extends Error {
  override readonly name = "SnapshotRefused";
}

/** One stream's end at the receiver. */
export interface SnapshotIntake {
  /** How many parts are here already: it goes on with the next. */
  readonly at: number;
  /** Resolves once the part is put away. One at a time. */
  take(part: Uint8Array): Promise<void>;
  /** There were so many. Resolves once the snapshot is in place. */
  finish(parts: number): Promise<void>;
  /** The stream broke. What has come is kept for another one, for a while. */
  broke(): void;
}

export interface Receiver {
  /** Messages from one member, in the order they were sent. */
  receive(messages: readonly Message[]): void;
  /** The way to a member broke or its queue was full: messages to it were lost. */
  unreachable(peer: number): void;
  /** @returns undefined when it is not needed here. Throws when it cannot be taken (now). */
  receiveSnapshot(from: number, header: SnapshotHeader): SnapshotIntake | undefined;
}

export interface Transport {
  start(receiver: Receiver): void;
  /** Whom it reaches from now on, itself left out. Others may still reach it, and are answered. */
  setPeers(peers: readonly GroupMember[]): void;
  /** Never blocks, never throws. May lose messages, may not change them; to one member they keep their order. */
  send(messages: readonly Message[]): void;
  /**
   * Resolves once the receiver has put it in place (or does not need it); rejects when the stream breaks, and with
   * SnapshotRefused when it is not taken.
   */
  sendSnapshot(to: number, source: SnapshotSource): Promise<void>;
  stop(): Promise<void>;
}
