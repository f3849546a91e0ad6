import { ClientSession } from "../../client/volume/metadata/client-session.ts";
import { SliceGrants } from "../../client/volume/metadata/grants.ts";
import { type ReadFreshness, Router } from "../../client/volume/metadata/router.ts";
import { decodeAttributes } from "../../core/codec.ts";
import type { Command } from "../../core/commands.ts";
import {
  type ByteString,
  compareVersions,
  type Inode,
  type RegionIndex,
  ROOT_INODE,
  type SliceId,
  type Version,
} from "../../core/ids.ts";
import { type Response, Status } from "../../proto/generated/metadata.ts";
import { asVersion } from "../../proto/versions.ts";
import type { Buckets } from "./buckets.ts";
import type { Completion, Invocation } from "./checks/directory-model.ts";
import { type Cluster, loggerOf, REGIONS, type Region } from "./cluster.ts";
import { Host, type World } from "./environment/world.ts";
import type { History, RecordedOperation } from "./history.ts";

const NAMES = ["a", "b", "c", "d"] as const;
const WRITE_TIMEOUT_MS = 20_000;
const READ_TIMEOUT_MS = 8_000;
const WRITE_BYTES = 5_000;

export interface ClientOptions {
  readonly cluster: Cluster;
  readonly history: History;
  readonly buckets: Buckets;
  readonly name: string;
  readonly region: Region;
  /** As mounted: every read is as of the primary's commit, or as of what the session has seen. */
  readonly consistency: "close-to-open" | "session";
  /** It changes nothing. */
  readonly readOnly: boolean;
  readonly thinkMsMax: number;
  /** How many of its operations may be under way at once. */
  readonly threads: number;
}

type RequestBody = Parameters<Router["read"]>[0];
type WorkDirectory = { readonly inode: number; readonly known: number[] };

/** A mount without FUSE: the client's own router and session, and somebody who does one thing after another with them. */
export class SimulatedClient {
  readonly host: Host;
  readonly #options: ClientOptions;
  readonly #world: World;
  #router!: Router;
  #session!: ClientSession;
  #grants!: SliceGrants;
  #directories: WorkDirectory[] = [];
  #number = 0;
  #owner = 0;
  #stopped = false;
  readonly #slicesUsed: SliceId[] = [];
  /** Of changes under way: what their attempts were answered. */
  readonly #attempts = new Map<number, { sessions: Set<number>; version: Version | undefined }>();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#world = options.cluster.world;
    this.host = new Host(this.#world, options.name, options.region);
  }

  start(): void {
    const process = this.host.begin();
    this.#world.turn(process, () => {
      this.#connect();
      void this.#session.open();
    });
  }

  /** Its threads begin to work in these directories. */
  work(directories: readonly number[]): void {
    this.#directories = directories.map((inode) => ({ inode, known: [] }));
    this.#world.turn(this.host.process!, () => {
      for (let thread = 0; thread < this.#options.threads; thread++) void this.#thread();
    });
  }

  /** Nothing new is begun. */
  stop(): void {
    this.#stopped = true;
  }

  /** Makes the directories in which all work, for good. */
  async prepare(count: number): Promise<number[]> {
    const inodes: number[] = [];
    for (let i = 0; i < count; i++) {
      const name = `directory-${i}`;
      for (let inode: number | undefined; inode === undefined; ) {
        await this.#mutate(makeCommand(ROOT_INODE, name, true));
        const found = await this.#read({ $case: "lookup", value: { parent: ROOT_INODE, name: Buffer.from(name) } });
        if (typeof found !== "string" && found.status === Status.OK) inode = decodeAttributes(found.attributes).inode;
        if (inode !== undefined) inodes.push(inode);
      }
    }
    return inodes;
  }

  #connect(): void {
    const { cluster, name, region, consistency } = this.#options;
    const logger = loggerOf(this.#world, name);
    const hello = (seen: Version) => ({
      volume: cluster.volume.volume,
      region,
      client: name,
      session: this.#session.id,
      seen,
      open: [],
    });
    const onPrimaryLoss = "fail" as const;
    const limits = { readTimeoutMs: READ_TIMEOUT_MS, maxStalenessMs: 0, onPrimaryLoss };
    this.#router = new Router(
      { volume: cluster.volume, region, consistency, ...limits, hello, logger },
      { onInvalidations: () => {}, onCachesLost: () => {} },
    );
    const own = REGIONS.indexOf(region) as RegionIndex;
    this.#session = new ClientSession({
      router: this.#recordingRouter() as Router,
      logger,
      client: name,
      region: () => own,
      writeTimeoutMs: WRITE_TIMEOUT_MS,
      onLost: () => this.#grants.drop(),
    });
    this.#grants = new SliceGrants({ mutate: (command: Command) => this.#mutate(command) } as unknown as ClientSession);
    this.#router.start();
  }

  /** Notes what each attempt of a change was answered: the session gives its last word only. */
  #recordingRouter(): Pick<Router, "closed" | "askPrimary" | "reconnectAll"> {
    const router = this.#router;
    return {
      get closed() {
        return router.closed;
      },
      reconnectAll: () => router.reconnectAll(),
      askPrimary: async (body, limits) => {
        const attempt = body.$case === "mutate" ? this.#attempts.get(body.value.request) : undefined;
        attempt?.sessions.add(this.#session.id);
        const answer = await router.askPrimary(body, limits);
        if (attempt !== undefined && typeof answer !== "string" && answer.status <= Status.FAILED) {
          attempt.version = answer.version && asVersion(answer.version);
        }
        return answer;
      },
    };
  }

  async #mutate(command: Command): ReturnType<ClientSession["mutate"]> {
    const number = ++this.#number;
    if (!this.#attempts.has(number)) this.#attempts.set(number, { sessions: new Set(), version: undefined });
    return this.#session.mutate(command);
  }

  #read(body: RequestBody, freshness: ReadFreshness = "committed"): Promise<Response | string> {
    return this.#router.read(body, { freshness });
  }

  async #thread(): Promise<void> {
    const { prng } = this.#world;
    while (!this.#stopped) {
      await new Promise((resolve) => setTimeout(resolve, prng.between(1, this.#options.thinkMsMax)));
      if (this.#stopped) return;
      const directory = prng.pick(this.#directories);
      if (!this.#options.readOnly && prng.chance(0.08)) await this.#write(directory);
      else await this.#run(directory, this.#drawOperation(directory));
    }
  }

  #drawOperation({ known }: WorkDirectory): Invocation {
    const { prng } = this.#world;
    const name = prng.pick(NAMES);
    const inode = known.length > 0 ? prng.pick(known) : 0;
    const reads: (() => Invocation)[] = [
      () => ({ kind: "lookup", name }),
      () => ({ kind: "lookup", name }),
      () => ({ kind: "list" }),
    ];
    if (this.#options.readOnly) return prng.pick(reads)();
    const operations: (() => Invocation)[] = [
      ...reads,
      () => ({ kind: "make", name, isDirectory: prng.chance(0.2) }),
      () => ({ kind: "make", name, isDirectory: false }),
      () => ({ kind: "unlink", name }),
      () => ({ kind: "unlink", name }),
      () => ({ kind: "rmdir", name }),
      () => ({
        kind: "rename",
        name,
        to: prng.pick(NAMES),
        mode: prng.pick(["replace", "replace", "noreplace", "exchange"] as const),
      }),
    ];
    if (inode !== 0) {
      const owner = ++this.#owner * 64 + Number(this.#options.name.split("-").at(-1));
      operations.push(
        () => ({ kind: "setOwner", inode, owner }),
        () => ({ kind: "setOwner", inode, owner }),
        () => ({ kind: "getattr", inode }),
        () => ({ kind: "getattr", inode }),
        () => ({ kind: "link", inode, name }),
      );
    }
    return prng.pick(operations)();
  }

  async #run(directory: WorkDirectory, invocation: Invocation): Promise<void> {
    const { history } = this.#options;
    const command = commandOf(directory.inode, invocation);
    const number = command === undefined ? 0 : this.#number + 1;
    const attempt = { sessions: new Set<number>(), version: undefined as Version | undefined };
    if (number > 0) this.#attempts.set(number, attempt);
    const recorded: RecordedOperation = {
      client: this.host.name,
      directory: directory.inode,
      invocation,
      freshness: command !== undefined ? "primary" : this.#freshness(),
      invokedAt: history.tick(),
      invokedMs: this.#world.nowMs,
      token: this.#router.seen,
      sessions: attempt.sessions,
      number,
      completedAt: Number.POSITIVE_INFINITY,
      completedMs: Number.POSITIVE_INFINITY,
      completion: undefined,
      version: undefined,
      isSuspended: false,
    };
    history.operations.push(recorded);
    if (command !== undefined) {
      recorded.completion = changed(await this.#mutate(command));
      recorded.version = attempt.version;
      this.#attempts.delete(number);
    } else await this.#completeRead(directory, recorded);
    recorded.completedAt = history.tick();
    recorded.completedMs = this.#world.nowMs;
    if (recorded.completion === undefined) recorded.completedAt = Number.POSITIVE_INFINITY;
    else rememberInodes(directory, recorded.completion);
    this.#world.log(`${this.host.name} ${describe(recorded)}`);
  }

  #freshness(): "committed" | "token" {
    return this.#options.consistency === "session" || this.#world.prng.chance(0.2) ? "token" : "committed";
  }

  async #completeRead(directory: WorkDirectory, recorded: RecordedOperation): Promise<void> {
    const freshness = recorded.freshness as ReadFreshness;
    const answer = await this.#read(readOf(directory.inode, recorded.invocation), freshness);
    if (typeof answer === "string") return; // nobody could answer
    recorded.completion = seen(recorded.invocation, answer);
    recorded.version = answer.version && asVersion(answer.version);
    recorded.isSuspended = answer.primaryUnreachable;
  }

  /** Now and then the id of what a later grant may bring, or one that was used before. */
  #sliceIdFor(granted: SliceId): SliceId {
    const { prng } = this.#world;
    if (prng.chance(0.15)) return (granted + 3_000) as SliceId;
    if (this.#slicesUsed.length === 0 || !prng.chance(0.15)) return granted;
    return prng.pick(this.#slicesUsed);
  }

  /** Stores a block and names it; now and then under an id that is not its own. */
  async #write({ known }: WorkDirectory): Promise<void> {
    const { prng } = this.#world;
    const { buckets } = this.#options;
    if (known.length === 0) return;
    const inode = prng.pick(known) as Inode;
    const granted = await this.#grants.take();
    if (typeof granted === "string") return;
    const id = this.#sliceIdFor(granted);
    const home = this.#router.primary as Region;
    if (id === granted) buckets.put(home, id);
    this.#slicesUsed.push(id);
    const slice = { id, bytes: WRITE_BYTES, home: REGIONS.indexOf(home) as RegionIndex, crc32c: [id % 2 ** 32] };
    const done = await this.#mutate({ kind: "write", inode, extents: [{ kind: "slice", offset: 0, slice }] });
    this.#world.log(`${this.host.name} writes slice ${id} to ${inode}: ${typeof done === "string" ? done : "done"}`);
  }
}

function makeCommand(parent: number, name: string, isDirectory: boolean): Command {
  return {
    kind: "make",
    parent: parent as Inode,
    name: name as ByteString,
    inodeKind: isDirectory ? "directory" : "file",
    mode: 0o755,
    uid: 0,
    gid: 0,
    device: 0,
    target: "" as ByteString,
  };
}

/** Undefined: it changes nothing. */
function commandOf(directory: number, invocation: Invocation): Command | undefined {
  const parent = directory as Inode;
  switch (invocation.kind) {
    case "make":
      return makeCommand(directory, invocation.name, invocation.isDirectory);
    case "unlink":
    case "rmdir":
      return { kind: invocation.kind, parent, name: invocation.name as ByteString };
    case "link":
      return { kind: "link", inode: invocation.inode as Inode, parent, name: invocation.name as ByteString };
    case "rename": {
      const { name, to, mode } = invocation;
      return { kind: "rename", parent, name: name as ByteString, newParent: parent, newName: to as ByteString, mode };
    }
    case "setOwner":
      return { kind: "setattr", inode: invocation.inode as Inode, uid: invocation.owner };
    default:
      return undefined;
  }
}

function readOf(directory: number, invocation: Invocation): RequestBody {
  if (invocation.kind === "lookup") {
    return { $case: "lookup", value: { parent: directory, name: Buffer.from(invocation.name, "latin1") } };
  }
  if (invocation.kind === "getattr") return { $case: "getAttributes", value: { inode: invocation.inode } };
  return {
    $case: "readDirectory",
    value: { inode: directory, after: Buffer.alloc(0), limit: 100, attributes: false },
  };
}

function changed(done: Awaited<ReturnType<ClientSession["mutate"]>>): Completion | undefined {
  if (done === "EIO" || done === "EINTR") return undefined;
  if (typeof done === "string") return { error: done };
  const { attributes } = done.outcome;
  if (attributes === undefined) return { error: "" };
  return { error: "", inode: attributes.inode, links: attributes.links, owner: attributes.uid };
}

function seen(invocation: Invocation, answer: Response): Completion {
  if (answer.status !== Status.OK) return { error: answer.error };
  if (invocation.kind === "list") {
    return { error: "", entries: answer.entries.map(({ name, inode }) => [name.toString("latin1"), inode] as const) };
  }
  const { inode, links, uid } = decodeAttributes(answer.attributes);
  return { error: "", inode, links, owner: uid };
}

const KNOWN_MAX = 6;

function rememberInodes({ known }: WorkDirectory, completion: Completion): void {
  const found = completion.entries?.map(([, inode]) => inode) ?? [completion.inode];
  for (const inode of found) if (inode !== undefined && !known.includes(inode)) known.push(inode);
  known.splice(0, Math.max(0, known.length - KNOWN_MAX));
}

export function describe({ invocation, completion, version, freshness, token }: RecordedOperation): string {
  const at = version === undefined ? "" : ` at ${version.epoch >> 4}.${version.epoch & 15}:${version.sequence}`;
  const behind = version !== undefined && compareVersions(version, token) < 0 ? " (older than its token)" : "";
  return `${freshness} ${JSON.stringify(invocation)} → ${completion === undefined ? "?" : JSON.stringify(completion)}${at}${behind}`;
}
