/**
 * The rooms of the house, what each is for and which of the others it may import. The checks in imports.test.ts and the
 * table in docs/ARCHITECTURE.md both go by this list.
 *
 * 1. core imports itself; a library room imports core and the library rooms below it.
 * 2. consensus never imports core, client or object-store; client/volume never imports consensus or a process.
 * 3. A process never imports another process: they talk over proto.
 * 4. bin imports the main.ts of each process, the library rooms and sandbox.
 */
export interface Room {
  /** A folder. A file belongs to the room with the longest name that it is in. */
  readonly name: string;
  readonly holds: string;
  /** Rooms, or single files of them. A room may always use itself and the rooms inside it. */
  readonly imports: readonly string[];
}

const FLOOR = ["core/", "base/", "proto/"];
const LIBRARY = [...FLOOR, "config/", "object-store/"];
const SERVER = [...FLOOR, "config/", "consensus/"];

export const ROOMS: readonly Room[] = [
  { name: "core/", holds: "the volume as a deterministic state machine: commands in, outcomes out", imports: [] },
  { name: "base/", holds: "user errors, waiting and back-off, the logger, a bucket's URL", imports: [] },
  {
    name: "proto/",
    holds: "the wire: `.proto` files, generated types, frames, versions, refusals, credentials",
    imports: ["core/", "base/"],
  },
  { name: "config/", holds: "the volume file, and the description of a volume that comes out of it", imports: FLOOR },
  {
    name: "object-store/",
    holds: "one interface for a bucket, with `file:`, `s3:` and `gs:` behind it; the bucket's marker",
    imports: FLOOR,
  },
  {
    name: "consensus/",
    holds: "a replicated log for any state machine: Raft, its runtime, its transport, the interface of its log",
    imports: ["base/", "proto/"],
  },
  { name: "consensus/raft/", holds: "the Raft algorithm alone: a pure state machine", imports: [] },
  {
    name: "meta-server/",
    holds: "one metadata server: the process, and how its parts are wired together",
    imports: SERVER,
  },
  { name: "meta-server/storage/", holds: "the log and the state on disk", imports: SERVER },
  {
    name: "meta-server/machine/",
    holds: "applies committed entries to the state",
    imports: [...SERVER, "meta-server/storage/"],
  },
  {
    name: "meta-server/region/",
    holds: "what every role and service works on: context, proposer, paths",
    imports: [...SERVER, "meta-server/machine/"],
  },
  {
    name: "meta-server/roles/",
    holds: "a region's roles: following the primary, epochs, switchover, promotion",
    imports: [...SERVER, "meta-server/machine/", "meta-server/region/"],
  },
  {
    name: "meta-server/services/",
    holds: "what is served: metadata, changelog, agents, administration",
    imports: [...SERVER, "meta-server/machine/", "meta-server/region/", "meta-server/roles/"],
  },
  {
    name: "mirror-agent/",
    holds: "copies the blocks that a region's bucket lacks, deletes those that nothing can name",
    imports: LIBRARY,
  },
  { name: "client/volume/", holds: "the volume as a file system, without the kernel", imports: LIBRARY },
  {
    name: "client/fuse/",
    holds: "the kernel's FUSE protocol, and nothing else",
    imports: ["core/", "base/", "client/volume/handlers.ts"],
  },
  {
    name: "client/mount/",
    holds: "the process behind a mount",
    imports: [...LIBRARY, "client/volume/", "client/fuse/"],
  },
  {
    name: "admin/",
    holds: "calls to a volume's servers, and the status made of their answers",
    imports: [...FLOOR, "config/"],
  },
  {
    name: "sandbox/",
    holds: "several clouds on one machine: S3 and GCS servers, a WAN proxy, a supervisor, the demo",
    imports: FLOOR,
  },
  {
    name: "bin/",
    holds: "the command line: parses, and hands over to a room",
    imports: [...LIBRARY, "admin/", "sandbox/", "meta-server/main.ts", "mirror-agent/main.ts", "client/mount/main.ts"],
  },
  { name: "test/", holds: "the tests, under the paths of what they test", imports: [""] },
];
