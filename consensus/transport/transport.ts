/** The interface between a group and its network: messages between members, and snapshots as resumable streams. */
import type { GroupMember } from "../group.ts";
import type { SnapshotPosition } from "../raft/input.ts";
import type { Message } from "../raft/messages.ts";

export interface SnapshotHeader extends SnapshotPosition {
  /** Term of the leader that sends the snapshot. */
  readonly term: number;
  /** Random id of this snapshot: a transfer is resumed only with the same one. */
  readonly transfer: number;
}

/** A snapshot to be sent, in parts numbered from 0. It outlives the stream, so that a transfer can be resumed. */
export interface SnapshotSource {
  readonly header: SnapshotHeader;
  /** Parts from number `from` on. Throws RangeError for one that was released by `taken`. */
  parts(from: number): AsyncIterable<Uint8Array>;
  /** The receiver has stored that many parts: they can be released. */
  taken(parts: number): void;
}

/** The receiver refused the snapshot: sending the same one again would fail again. */
export class SnapshotRefused extends Error {
  override readonly name = "SnapshotRefused";
}

/** Receives one snapshot from one stream. */
export interface SnapshotIntake {
  /** Number of parts already received: the sender continues after them. */
  readonly at: number;
  /** Resolves once the part is stored. One at a time. */
  take(part: Uint8Array): Promise<void>;
  /** `parts`: how many were sent. Resolves once the snapshot is installed. */
  finish(parts: number): Promise<void>;
  /** The stream broke. Another one can resume the transfer for a while. */
  disconnected(): void;
}

/** What a group does with what arrives. */
export interface Receiver {
  /** Messages from one member, in the order they were sent. */
  receive(messages: readonly Message[]): void;
  /** The connection to a member broke, or its queue was full: messages to it were lost. */
  unreachable(peer: number): void;
  /** @returns undefined when this member does not need the snapshot. Throws when it cannot be accepted (now). */
  receiveSnapshot(from: number, header: SnapshotHeader): SnapshotIntake | undefined;
}

export interface Transport {
  start(receiver: Receiver): void;
  /** The members to connect to, this one excluded. Servers not among them may still connect, and can be answered. */
  setPeers(peers: readonly GroupMember[]): void;
  /** Never blocks or throws. Messages may be lost, but not corrupted; those to one member keep their order. */
  send(messages: readonly Message[]): void;
  /**
   * Resolves once the receiver has installed the snapshot, or does not need it. Rejects when the stream breaks, and with
   * SnapshotRefused when the receiver refuses it.
   */
  sendSnapshot(to: number, source: SnapshotSource): Promise<void>;
  stop(): Promise<void>;
}
