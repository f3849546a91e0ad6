import { AsyncLocalStorage } from "node:async_hooks";
import { ClientSession } from "../../client/volume/metadata/client-session.ts";
import { SliceGrants } from "../../client/volume/metadata/grants.ts";
import type { ReadFreshness } from "../../client/volume/metadata/read-policy.ts";
import { Router } from "../../client/volume/metadata/router.ts";
import { decodeAttributes } from "../../core/codec.ts";
import { type Inode, type RegionIndex, ROOT_INODE, type SliceId, type Version } from "../../core/ids.ts";
import { type Response, Status } from "../../proto/generated/metadata.ts";
import { asVersion } from "../../proto/versions.ts";
import type { Buckets } from "./buckets.ts";
import type { Completion, Invocation } from "./checks/directory-model.ts";
import { type Cluster, loggerOf, REGIONS, type Region } from "./cluster.ts";
import { Host, type World } from "./environment/world.ts";
import { describe, type History, type RecordedOperation } from "./history.ts";
import {
  commandOf,
  completionOfChange,
  completionOfRead,
  drawInvocation,
  makeCommand,
  type RequestBody,
  readOf,
} from "./workload.ts";

const WRITE_TIMEOUT_MS = 20_000;
const READ_TIMEOUT_MS = 8_000;
const WRITE_BYTES = 5_000;

export interface ClientOptions {
  readonly cluster: Cluster;
  readonly history: History;
  readonly buckets: Buckets;
  readonly name: string;
  readonly region: Region;
  /** The mount's consistency mode. */
  readonly consistency: "close-to-open" | "session";
  readonly readOnly: boolean;
  readonly thinkMsMax: number;
  /** How many operations run concurrently. */
  readonly threads: number;
}

type WorkDirectory = { readonly inode: number; readonly known: number[] };

/** A mount without FUSE: the production router and session, with a random workload on top. */
export class SimulatedClient {
  readonly host: Host;
  readonly #options: ClientOptions;
  readonly #world: World;
  #router!: Router;
  #session!: ClientSession;
  #grants!: SliceGrants;
  #directories: WorkDirectory[] = [];
  #owner = 0;
  #stopped = false;
  readonly #slicesUsed: SliceId[] = [];
  /** The change that is being sent: the session numbers it when it sends it. */
  readonly #sending = new AsyncLocalStorage<RecordedOperation>();

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

  /** Starts the workload in these directories. */
  work(directories: readonly number[]): void {
    this.#directories = directories.map((inode) => ({ inode, known: [] }));
    this.#world.turn(this.host.process!, () => {
      for (let thread = 0; thread < this.#options.threads; thread++) void this.#thread();
    });
  }

  /** Stops invoking new operations. */
  stop(): void {
    this.#stopped = true;
  }

  /** Creates the directories that all clients work in. */
  async prepare(count: number): Promise<number[]> {
    const inodes: number[] = [];
    for (let i = 0; i < count; i++) {
      const name = `directory-${i}`;
      for (let inode: number | undefined; inode === undefined; ) {
        await this.#session.mutate(makeCommand(ROOT_INODE, name, true));
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
    this.#grants = new SliceGrants(this.#session);
    this.#router.start();
  }

  /** Records each attempt of a change: the session returns only the final answer. */
  #recordingRouter(): Pick<Router, "closed" | "askPrimary" | "reconnectAll"> {
    const router = this.#router;
    return {
      get closed() {
        return router.closed;
      },
      reconnectAll: () => router.reconnectAll(),
      askPrimary: async (body, limits) => {
        const sent = body.$case === "mutate" && body.value.request > 0 ? this.#sending.getStore() : undefined;
        if (sent !== undefined && body.$case === "mutate") {
          sent.number = body.value.request;
          sent.sessions.add(this.#session.id);
        }
        const answer = await router.askPrimary(body, limits);
        // The router sends a request again on each new stream, and another request may have opened a new session meanwhile.
        sent?.sessions.add(this.#session.id);
        if (sent !== undefined && typeof answer !== "string" && answer.status <= Status.FAILED) {
          sent.version = answer.version && asVersion(answer.version);
        }
        return answer;
      },
    };
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
      else await this.#run(directory, this.#draw(directory));
    }
  }

  #draw({ known }: WorkDirectory): Invocation {
    const { readOnly, name } = this.#options;
    const nextOwner = () => ++this.#owner * 64 + Number(name.split("-").at(-1));
    return drawInvocation(this.#world.prng, { readOnly, knownInodes: known, nextOwner });
  }

  async #run(directory: WorkDirectory, invocation: Invocation): Promise<void> {
    const { history } = this.#options;
    const command = commandOf(directory.inode, invocation);
    const recorded: RecordedOperation = {
      client: this.host.name,
      directory: directory.inode,
      invocation,
      freshness: command !== undefined ? "primary" : this.#freshness(),
      invokedAt: history.tick(),
      invokedMs: this.#world.nowMs,
      token: this.#router.seen,
      sessions: new Set(),
      number: 0,
      completedAt: Number.POSITIVE_INFINITY,
      completedMs: Number.POSITIVE_INFINITY,
      completion: undefined,
      version: undefined,
      isSuspended: false,
    };
    history.operations.push(recorded);
    if (command !== undefined) {
      const done = await this.#sending.run(recorded, () => this.#session.mutate(command));
      recorded.completion = completionOfChange(done);
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
    if (typeof answer === "string") return; // no server could answer
    recorded.completion = completionOfRead(recorded.invocation, answer);
    recorded.version = answer.version && asVersion(answer.version);
    recorded.isSuspended = answer.primaryUnreachable;
  }

  /** Sometimes an id that has not been granted yet, or one that was used before: the servers must refuse both. */
  #sliceIdFor(granted: SliceId): SliceId {
    const { prng } = this.#world;
    if (prng.chance(0.15)) return (granted + 3_000) as SliceId;
    if (this.#slicesUsed.length === 0 || !prng.chance(0.15)) return granted;
    return prng.pick(this.#slicesUsed);
  }

  /** Stores a block and writes a slice that names it, sometimes under a wrong id. */
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
    const done = await this.#session.mutate({ kind: "write", inode, extents: [{ kind: "slice", offset: 0, slice }] });
    this.#world.log(`${this.host.name} writes slice ${id} to ${inode}: ${typeof done === "string" ? done : "done"}`);
  }
}

const KNOWN_MAX = 6;

function rememberInodes({ known }: WorkDirectory, completion: Completion): void {
  const found = completion.entries?.map(([, inode]) => inode) ?? [completion.inode];
  for (const inode of found) if (inode !== undefined && !known.includes(inode)) known.push(inode);
  known.splice(0, Math.max(0, known.length - KNOWN_MAX));
}
