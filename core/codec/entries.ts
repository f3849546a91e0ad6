import type { Command, Stamp } from "../commands.ts";
import type { EpochCode, Sequence, SessionId, Version } from "../ids.ts";
import { encodeWith, Reader } from "./bytes.ts";
import { readCommand } from "./commands.ts";

/** The first byte of a log entry. `ENTRY_LOCAL`: an entry of the metadata server's own, which is not decoded here. */
export const ENTRY_PROPOSED = 1;
export const ENTRY_FOLLOWED = 2;
export const ENTRY_LOCAL = 3;

const STAMP_FORMAT = 1;

interface EntryBody {
  readonly stamp: Stamp;
  readonly command: Command;
  /** The encoded stamp and command, which a mirror copies into its own log. A view of the entry. */
  readonly body: Uint8Array;
}

/** An entry of the changelog: proposed by this group's leader, or followed from the primary with its predecessor's version. */
export type Entry =
  | (EntryBody & { readonly type: "proposed" })
  | (EntryBody & { readonly type: "followed"; readonly previous: Version });

/** Encodes the entry for a command that this group's leader proposes. `command`: encodeCommand's bytes, from the client. */
export function encodeProposed(stamp: Stamp, command: Uint8Array): Uint8Array {
  return encodeWith((w) => {
    w.u8(ENTRY_PROPOSED);
    w.u8(STAMP_FORMAT);
    w.uint(stamp.epoch);
    w.time(stamp.now);
    w.uint(stamp.session);
    w.uint(stamp.request);
    w.uint(stamp.lowWater);
    w.raw(command);
  });
}

/** Encodes a mirror's entry for one of the primary's. `previous`: its predecessor there; `body`: its Entry.body. */
export function encodeFollowed(previous: Version, body: Uint8Array): Uint8Array {
  return encodeWith((w) => {
    w.u8(ENTRY_FOLLOWED);
    w.uint(previous.epoch);
    w.uint(previous.sequence);
    w.raw(body);
  });
}

/** @throws CodecError for anything but a proposed or a followed entry. */
export function decodeEntry(bytes: Uint8Array): Entry {
  const r = new Reader(bytes, "entry");
  const type = r.u8();
  if (type === ENTRY_PROPOSED) return { type: "proposed", ...readBody(bytes, r) };
  if (type !== ENTRY_FOLLOWED) throw r.fail(`type ${type} is neither proposed nor followed`);
  const previous = { epoch: r.uint() as EpochCode, sequence: r.uint() as Sequence };
  return { type: "followed", previous, ...readBody(bytes, r) };
}

function readBody(bytes: Uint8Array, r: Reader): EntryBody {
  const body = bytes.subarray(r.offset);
  r.format(STAMP_FORMAT);
  const stamp: Stamp = {
    epoch: r.uint() as EpochCode,
    now: r.time(),
    session: r.uint() as SessionId,
    request: r.uint(),
    lowWater: r.uint(),
  };
  return { stamp, command: readCommand(r), body };
}
