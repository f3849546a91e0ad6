/** The binary encoding of commands, entries, outcomes and records: in the log, in the state and on the wire. */
export { CodecError } from "./codec/bytes.ts";
export { decodeCommand, encodeCommand } from "./codec/commands.ts";
export {
  decodeEntry,
  ENTRY_FOLLOWED,
  ENTRY_LOCAL,
  ENTRY_PROPOSED,
  type Entry,
  encodeFollowed,
  encodeProposed,
} from "./codec/entries.ts";
export {
  type ChunkValue,
  decodeAttributes,
  decodeChunk,
  decodeOutcome,
  decodeSlice,
  encodeAttributes,
  encodeChunk,
  encodeOutcome,
  encodeSlice,
  INODE_KINDS,
  newSlice,
  type Segment,
  type SliceRecord,
} from "./codec/values.ts";
