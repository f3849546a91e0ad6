import { FUSE_MAJOR, FUSE_MINOR } from "./protocol.ts";
import type { ReplyWriter } from "./reply-writer.ts";
import type { RequestBody } from "./request-body.ts";

/** FUSE_INIT's flags, bits 0…31, that are requested where the kernel offers them. */
const REQUESTED = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  FLOCK_LOCKS: 1 << 10,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  /** A link's target never changes, and its inode number is never reused. */
  CACHE_SYMLINKS: 1 << 23,
  /** Without it the kernel sends GETXATTR for security.capability before every write. */
  HANDLE_KILLPRIV_V2: 1 << 28,
  INIT_EXT: 1 << 30,
};
/** Bits 32…63. */
const REQUESTED_HIGH = { HAS_RESEND: 1 << 7 };

const ALL_REQUESTED = Object.values(REQUESTED).reduce((all, flag) => all | flag);
const ALL_REQUESTED_HIGH = Object.values(REQUESTED_HIGH).reduce((all, flag) => all | flag);

/** Background requests that the kernel may have in flight: readahead and asynchronous direct I/O. */
const BACKGROUND_MAX = 128;
const CONGESTION_THRESHOLD = 96;
const PAGE_BYTES = 4096;

interface Negotiated {
  readonly major: number;
  readonly minor: number;
  readonly flags: number;
  readonly flagsHigh: number;
  readonly readAheadBytesMax: number;
}

/** From struct fuse_init_in: the flags that are both offered and requested. */
export function negotiate(body: RequestBody): Negotiated {
  const offered = body.u32(12);
  const offeredHigh = (offered & REQUESTED.INIT_EXT) !== 0 && body.length >= 20 ? body.u32(16) : 0;
  return {
    major: body.u32(0),
    minor: Math.min(body.u32(4), FUSE_MINOR),
    flags: offered & ALL_REQUESTED,
    flagsHigh: offeredHigh & ALL_REQUESTED_HIGH,
    readAheadBytesMax: body.u32(8),
  };
}

/** struct fuse_init_out. A kernel with a later major version sends a second INIT once it has read ours. */
export function putInit(out: ReplyWriter, negotiated: Negotiated, writeBytesMax: number): void {
  out.u32(FUSE_MAJOR);
  out.u32(negotiated.minor);
  out.u32(negotiated.readAheadBytesMax);
  out.u32(negotiated.flags);
  out.u32(BACKGROUND_MAX | (CONGESTION_THRESHOLD << 16));
  out.u32(writeBytesMax);
  out.u32(1); // time_gran: nanoseconds
  out.u32(Math.ceil(writeBytesMax / PAGE_BYTES)); // max_pages, and no map_alignment
  out.u32(negotiated.flagsHigh);
  for (let word = 0; word < 7; word++) out.u32(0);
}
