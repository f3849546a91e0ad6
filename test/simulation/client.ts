import { AsyncLocalStorage } from "node:async_hooks";
import { ClientSession } from "../../client/volume/metadata/client-session.ts";
import { SliceGrants } from "../../client/volume/metadata/grants.ts";
import type { ReadFreshness } from "../../client/volume/metadata/read-policy.ts";
import { Router } from "../../client/volume/metadata/router.ts";
import { decodeAttributes } from "../../core/codec.ts";
import { type RegionIndex, ROOT_INODE, type SliceId, type Version } from "../../core/ids.ts";
import { type Response, Status } from "../../proto/generated/metadata.ts";
import { asVersion } from "../../proto/versions.ts";
import type { Buckets } from "./buckets.ts";
import type { LockChecker } from "./checks/lock-checker.ts";
import type { Completion, Invocation, Lock } from "./checks/tree-model.ts";
import { type Cluster, loggerOf, REGIONS, type Region } from "./cluster.ts";
import { Host, type World } from "./environment/world.ts";
import { describe, type History, type RecordedOperation } from "./history.ts";
import {
  commandOf,
  completionOfChange,
  completionOfRead,
  drawInvocation,
  drawWrite,
  makeCommand,
  type RequestBody,
  readOf,
  type WorkDirectory,
} from "./workload.ts";

const WRITE_TIMEOUT_MS = 20_000;
const READ_TIMEOUT_MS = 8_000;
/** Descriptors and locks that a client has at most. */
const OPEN_MAX = 6;
const LOCKS_MAX = 3;

export interface ClientOptions {
  readonly cluster: Cluster;
  readonly history: History;
  readonly buckets: Buckets;
  readonly locks: LockChecker;
  readonly name: string;
  readonly region: Region;
  /** The mount's consistency mode. */
  readonly consistency: "close-to-open" | "session";
  readonly readOnly: boolean;
  readonly thinkMsMax: number;
  /** How many operations run concurrently. */
  readonly threads: number;
}

/** A mount without FUSE: the production router and session, with a random workload on top. */
export class SimulatedClient {
  readonly host: Host;
  readonly #options: ClientOptions;
  readonly #world: World;
  #router!: Router;
  #session!: ClientSession;
  #grants!: SliceGrants;
  #directories: WorkDirectory[] = [];
  /** Of owners and locks. */
  #drawn = 0;
  #stopped = false;
  readonly #slicesUsed: SliceId[] = [];
  /** Open files, with the directory, the session and the version that each was opened in. */
  readonly #open = new Map<number, { readonly directory: number; session: number; readonly version: Version }>();
  readonly #locks: Lock[] = [];
  /** The change that is being sent: the session numbers it when it sends it. */
  readonly #sending = new AsyncLocalStorage<RecordedOperation>();
  /** The region whose server gave an answer. */
  readonly #answeredBy = new WeakMap<Response, Region>();

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
    this.#directories = directories.map((inode) => ({ inode, known: [], names: new Map() }));
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
    const hello = (seen: Version, uuid: string) => ({
      volume: cluster.volume.volume,
      region,
      client: name,
      session: this.#session.id,
      seen,
      uuid,
      open: [...this.#open.keys()].map((inode) => ({ inode, handles: 1 })),
    });
    const onPrimaryLoss = "fail" as const;
    const limits = { readTimeoutMs: READ_TIMEOUT_MS, maxStalenessMs: 0, onPrimaryLoss };
    this.#router = new Router(
      { volume: cluster.volume, region, consistency, ...limits, hello, logger },
      { onInvalidations: () => {}, onCachesLost: () => {} },
    );
    this.#noteWhoAnswers();
    const own = REGIONS.indexOf(region) as RegionIndex;
    this.#session = new ClientSession({
      router: this.#recordingRouter() as Router,
      logger,
      client: name,
      region: () => own,
      writeTimeoutMs: WRITE_TIMEOUT_MS,
      onLost: () => this.#sessionLost(),
    });
    this.#grants = new SliceGrants(this.#session);
    this.#router.start();
  }

  /** As in a mount: ids and locks end with the session; what is open is open in the next one. */
  #sessionLost(): void {
    this.#grants.drop();
    this.#locks.length = 0;
    for (const file of this.#open.values()) file.session = this.#session.id;
  }

  #noteWhoAnswers(): void {
    for (const region of REGIONS) {
      const group = this.#router.group(region);
      const ask = group.ask.bind(group);
      group.ask = async (...args) => {
        const answer = await ask(...args);
        if (typeof answer !== "string") this.#answeredBy.set(answer, region);
        return answer;
      };
    }
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
      const writes = !this.#options.readOnly && directory.known.length > 0 && prng.chance(0.12);
      const invocation = writes ? await this.#drawWrite(directory) : this.#draw(directory);
      if (invocation !== undefined) await this.#run(directory, invocation);
    }
  }

  #draw(directory: WorkDirectory): Invocation {
    const { readOnly, name } = this.#options;
    this.#release();
    return drawInvocation(this.#world.prng, {
      readOnly,
      directory,
      directories: this.#directories,
      open: [...this.#open].filter(([, file]) => file.directory === directory.inode).map(([inode]) => inode),
      locks: this.#locks,
      nextNumber: () => ++this.#drawn * 64 + Number(name.split("-").at(-1)),
      clientName: name,
    });
  }

  /** Closes a descriptor, now and then and when there are too many. */
  #release(): void {
    const { prng } = this.#world;
    const [oldest] = this.#open.keys();
    if (oldest === undefined || (this.#open.size <= OPEN_MAX && !prng.chance(0.02))) return;
    this.#open.delete(oldest);
    void this.#read({ $case: "release", value: { inode: oldest, handles: 1 } }, "token");
  }

  async #run(directory: WorkDirectory, invocation: Invocation): Promise<void> {
    const { history, locks } = this.#options;
    const command = commandOf(directory.inode, invocation);
    const recorded: RecordedOperation = {
      client: this.host.name,
      directory: directory.inode,
      invocation,
      freshness: command !== undefined ? "primary" : this.#freshness(invocation),
      invokedAt: history.tick(),
      invokedMs: this.#world.nowMs,
      token: this.#router.seen,
      sessions: new Set(),
      number: 0,
      opened: this.#openedFor(invocation),
      completedAt: Number.POSITIVE_INFINITY,
      completedMs: Number.POSITIVE_INFINITY,
      completion: undefined,
      version: undefined,
      isSuspended: false,
      answeredBy: undefined,
    };
    history.operations.push(recorded);
    if (invocation.kind === "unlock") this.#unlocked(invocation);
    if (command !== undefined) {
      const done = await this.#sending.run(recorded, () => this.#session.mutate(command));
      recorded.completion = completionOfChange(done);
    } else await this.#completeRead(directory, recorded);
    recorded.completedAt = history.tick();
    recorded.completedMs = this.#world.nowMs;
    if (recorded.completion === undefined) recorded.completedAt = Number.POSITIVE_INFINITY;
    else remember(directory, invocation, recorded.completion);
    this.#world.log(`${this.host.name} ${describe(recorded)}`);
    if (invocation.kind === "lock" && recorded.completion?.error === "") this.#locked(invocation, recorded);
    locks.check();
  }

  /** As ReadPolicy does: a mount with `consistency=session` never asks for the primary's commit. */
  #freshness({ kind }: Invocation): "committed" | "token" {
    if (this.#options.consistency !== "session" && kind === "open") return "committed";
    return this.#options.consistency === "session" || this.#world.prng.chance(0.2) ? "token" : "committed";
  }

  async #completeRead(directory: WorkDirectory, recorded: RecordedOperation): Promise<void> {
    const { invocation } = recorded;
    const session = this.#session.id;
    const answer = await this.#read(readOf(directory.inode, invocation), recorded.freshness as ReadFreshness);
    if (typeof answer === "string") return; // no server could answer
    recorded.completion = completionOfRead(invocation, answer);
    recorded.version = answer.version && asVersion(answer.version);
    recorded.isSuspended = answer.primaryUnreachable;
    recorded.answeredBy = this.#answeredBy.get(answer);
    const { version, completion } = recorded;
    if (invocation.kind !== "open" || completion.error !== "" || session !== this.#session.id) return;
    if (version !== undefined) this.#open.set(invocation.inode, { directory: directory.inode, session, version });
  }

  #openedFor(invocation: Invocation): RecordedOperation["opened"] {
    const file = "isOpen" in invocation && invocation.isOpen ? this.#open.get(invocation.inode) : undefined;
    return file && { session: file.session, version: file.version };
  }

  #locked({ inode, owner, mode }: Lock, { version, sessions }: RecordedOperation): void {
    const session = this.#session.id;
    if (!sessions.has(session) || version === undefined) return;
    if (this.#locks.length >= LOCKS_MAX) this.#locks.shift();
    this.#locks.push({ inode, owner, mode });
    this.#options.locks.acquired({ client: this.host.name, inode, owner, mode, session, version });
  }

  #unlocked({ inode, owner }: Lock): void {
    this.#options.locks.released(owner);
    const at = this.#locks.findIndex((lock) => lock.inode === inode && lock.owner === owner);
    if (at !== -1) this.#locks.splice(at, 1);
  }

  /** Sometimes an id that has not been granted yet, or one that was used before: the servers must refuse both. */
  #sliceIdFor(granted: SliceId): SliceId {
    const { prng } = this.#world;
    if (prng.chance(0.15)) return (granted + 3_000) as SliceId;
    if (this.#slicesUsed.length === 0 || !prng.chance(0.15)) return granted;
    return prng.pick(this.#slicesUsed);
  }

  /** Stores the blocks of a slice, to be named by the write that is returned, sometimes under a wrong id. */
  async #drawWrite({ known }: WorkDirectory): Promise<Invocation | undefined> {
    const { prng } = this.#world;
    const granted = await this.#grants.take();
    if (typeof granted === "string") return undefined;
    const id = this.#sliceIdFor(granted);
    const home = this.#router.primary as Region;
    if (id === granted) this.#options.buckets.put(home, id);
    this.#slicesUsed.push(id);
    return drawWrite(prng, prng.pick(known), id, REGIONS.indexOf(home));
  }
}

const KNOWN_MAX = 6;

function remember({ known, names }: WorkDirectory, invocation: Invocation, completion: Completion): void {
  const found = completion.entries?.map(([, inode]) => inode) ?? [completion.inode];
  for (const inode of found) if (inode !== undefined && !known.includes(inode)) known.push(inode);
  known.splice(0, Math.max(0, known.length - KNOWN_MAX));
  for (const [name, inode] of completion.entries ?? []) names.set(name, inode);
  const isNamed = invocation.kind === "make" || invocation.kind === "lookup";
  if (isNamed && completion.inode !== undefined) names.set(invocation.name, completion.inode);
}
