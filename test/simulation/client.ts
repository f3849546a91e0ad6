import { ClientSession } from "../../client/volume/metadata/client-session.ts";
import { SliceGrants } from "../../client/volume/metadata/grants.ts";
import type { ReadFreshness } from "../../client/volume/metadata/read-policy.ts";
import { Router } from "../../client/volume/metadata/router.ts";
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
import type { Asked, Came } from "./checks/directory-model.ts";
import type { History, Recorded } from "./history.ts";
import { type House, loggerOf, REGIONS, type Region } from "./house.ts";
import { Host, type World } from "./stage/world.ts";

const NAMES = ["a", "b", "c", "d"] as const;
const WRITE_TIMEOUT_MS = 20_000;
const READ_TIMEOUT_MS = 8_000;
const WRITE_BYTES = 5_000;

export interface ClientOptions {
  readonly house: House;
  readonly history: History;
  readonly buckets: Buckets;
  readonly name: string;
  readonly region: Region;
  /** As mounted: every read is as of the primary's commit, or as of what the session has seen. */
  readonly consistency: "close-to-open" | "session";
  /** It changes nothing. */
  readonly onlyReads: boolean;
  readonly thinkMsMax: number;
  /** How many of its operations may be under way at once. */
  readonly threads: number;
}

type RequestBody = Parameters<Router["read"]>[0];
type Directory = { readonly inode: number; readonly known: number[] };

/** A mount without FUSE: the client's own router and session, and somebody who does one thing after another with them. */
export class SimulatedClient {
  readonly host: Host;
  readonly #options: ClientOptions;
  readonly #world: World;
  #router!: Router;
  #session!: ClientSession;
  #grants!: SliceGrants;
  #directories: Directory[] = [];
  #number = 0;
  #owner = 0;
  #stopped = false;
  readonly #slicesUsed: SliceId[] = [];
  /** Of changes under way: what their attempts were answered. */
  readonly #attempts = new Map<number, { sessions: Set<number>; version: Version | undefined }>();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#world = options.house.world;
    this.host = new Host(this.#world, options.name, options.region);
  }

  start(): void {
    const life = this.host.begin();
    this.#world.turn(life, () => {
      this.#connect();
      void this.#session.open();
    });
  }

  /** Its threads begin to work in these directories. */
  work(directories: readonly number[]): void {
    this.#directories = directories.map((inode) => ({ inode, known: [] }));
    this.#world.turn(this.host.life!, () => {
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
    const { house, name, region, consistency } = this.#options;
    const logger = loggerOf(this.#world, name);
    const hello = (seen: Version) => ({
      volume: house.volume.volume,
      region,
      client: name,
      session: this.#session.id,
      seen,
      open: [],
    });
    const onPrimaryLoss = "fail" as const;
    const limits = { readTimeoutMs: READ_TIMEOUT_MS, maxStalenessMs: 0, onPrimaryLoss };
    this.#router = new Router(
      { volume: house.volume, region, consistency, ...limits, hello, logger },
      { onInvalidations: () => {}, onCachesLost: () => {} },
    );
    const own = REGIONS.indexOf(region) as RegionIndex;
    this.#session = new ClientSession({
      router: this.#watchedRouter() as Router,
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
  #watchedRouter(): Pick<Router, "closed" | "askPrimary" | "reconnectAll"> {
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
    const { chance } = this.#world;
    while (!this.#stopped) {
      await new Promise((resolve) => setTimeout(resolve, chance.between(1, this.#options.thinkMsMax)));
      if (this.#stopped) return;
      const directory = chance.pick(this.#directories);
      if (!this.#options.onlyReads && chance.happens(0.08)) await this.#write(directory);
      else await this.#operate(directory, this.#drawOperation(directory));
    }
  }

  #drawOperation({ known }: Directory): Asked {
    const { chance } = this.#world;
    const name = chance.pick(NAMES);
    const inode = known.length > 0 ? chance.pick(known) : 0;
    const looks: (() => Asked)[] = [
      () => ({ kind: "lookup", name }),
      () => ({ kind: "lookup", name }),
      () => ({ kind: "list" }),
    ];
    if (this.#options.onlyReads) return chance.pick(looks)();
    const operations: (() => Asked)[] = [
      ...looks,
      () => ({ kind: "make", name, isDirectory: chance.happens(0.2) }),
      () => ({ kind: "make", name, isDirectory: false }),
      () => ({ kind: "unlink", name }),
      () => ({ kind: "unlink", name }),
      () => ({ kind: "rmdir", name }),
      () => ({
        kind: "rename",
        name,
        to: chance.pick(NAMES),
        mode: chance.pick(["replace", "replace", "noreplace", "exchange"] as const),
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
    return chance.pick(operations)();
  }

  async #operate(directory: Directory, asked: Asked): Promise<void> {
    const { history } = this.#options;
    const command = commandOf(directory.inode, asked);
    const number = command === undefined ? 0 : this.#number + 1;
    const attempt = { sessions: new Set<number>(), version: undefined as Version | undefined };
    if (number > 0) this.#attempts.set(number, attempt);
    const recorded: Recorded = {
      client: this.host.name,
      directory: directory.inode,
      asked,
      freshness: command !== undefined ? "primary" : this.#freshness(),
      calledAt: history.moment(),
      calledMs: this.#world.nowMs,
      token: this.#router.seen,
      sessions: attempt.sessions,
      number,
      answeredAt: Number.POSITIVE_INFINITY,
      answeredMs: Number.POSITIVE_INFINITY,
      came: undefined,
      version: undefined,
      isSuspended: false,
    };
    history.recorded.push(recorded);
    if (command !== undefined) {
      recorded.came = changed(await this.#mutate(command));
      recorded.version = attempt.version;
      this.#attempts.delete(number);
    } else await this.#look(directory, recorded);
    recorded.answeredAt = history.moment();
    recorded.answeredMs = this.#world.nowMs;
    if (recorded.came === undefined) recorded.answeredAt = Number.POSITIVE_INFINITY;
    else learn(directory, recorded.came);
    this.#world.tell(`${this.host.name} ${describe(recorded)}`);
  }

  #freshness(): "committed" | "token" {
    return this.#options.consistency === "session" || this.#world.chance.happens(0.2) ? "token" : "committed";
  }

  async #look(directory: Directory, recorded: Recorded): Promise<void> {
    const freshness = recorded.freshness as ReadFreshness;
    const answer = await this.#read(readOf(directory.inode, recorded.asked), freshness);
    if (typeof answer === "string") return; // nobody could answer
    recorded.came = seen(recorded.asked, answer);
    recorded.version = answer.version && asVersion(answer.version);
    recorded.isSuspended = answer.primaryUnreachable;
  }

  /** Now and then the id of what a later grant may bring, or one that was used before. */
  #slipped(granted: SliceId): SliceId {
    const { chance } = this.#world;
    if (chance.happens(0.15)) return (granted + 3_000) as SliceId;
    if (this.#slicesUsed.length === 0 || !chance.happens(0.15)) return granted;
    return chance.pick(this.#slicesUsed);
  }

  /** Stores a block and names it; now and then under an id that is not its own. */
  async #write({ known }: Directory): Promise<void> {
    const { chance } = this.#world;
    const { buckets } = this.#options;
    if (known.length === 0) return;
    const inode = chance.pick(known) as Inode;
    const granted = await this.#grants.take();
    if (typeof granted === "string") return;
    const id = this.#slipped(granted);
    const home = this.#router.primary as Region;
    if (id === granted) buckets.put(home, id);
    this.#slicesUsed.push(id);
    const slice = { id, bytes: WRITE_BYTES, home: REGIONS.indexOf(home) as RegionIndex, crc32c: [id % 2 ** 32] };
    const done = await this.#mutate({ kind: "write", inode, extents: [{ kind: "slice", offset: 0, slice }] });
    this.#world.tell(`${this.host.name} writes slice ${id} to ${inode}: ${typeof done === "string" ? done : "done"}`);
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
function commandOf(directory: number, asked: Asked): Command | undefined {
  const parent = directory as Inode;
  switch (asked.kind) {
    case "make":
      return makeCommand(directory, asked.name, asked.isDirectory);
    case "unlink":
    case "rmdir":
      return { kind: asked.kind, parent, name: asked.name as ByteString };
    case "link":
      return { kind: "link", inode: asked.inode as Inode, parent, name: asked.name as ByteString };
    case "rename": {
      const { name, to, mode } = asked;
      return { kind: "rename", parent, name: name as ByteString, newParent: parent, newName: to as ByteString, mode };
    }
    case "setOwner":
      return { kind: "setattr", inode: asked.inode as Inode, uid: asked.owner };
    default:
      return undefined;
  }
}

function readOf(directory: number, asked: Asked): RequestBody {
  if (asked.kind === "lookup") {
    return { $case: "lookup", value: { parent: directory, name: Buffer.from(asked.name, "latin1") } };
  }
  if (asked.kind === "getattr") return { $case: "getAttributes", value: { inode: asked.inode } };
  return {
    $case: "readDirectory",
    value: { inode: directory, after: Buffer.alloc(0), limit: 100, attributes: false },
  };
}

function changed(done: Awaited<ReturnType<ClientSession["mutate"]>>): Came | undefined {
  if (done === "EIO" || done === "EINTR") return undefined;
  if (typeof done === "string") return { error: done };
  const { attributes } = done.outcome;
  if (attributes === undefined) return { error: "" };
  return { error: "", inode: attributes.inode, links: attributes.links, owner: attributes.uid };
}

function seen(asked: Asked, answer: Response): Came {
  if (answer.status !== Status.OK) return { error: answer.error };
  if (asked.kind === "list") {
    return { error: "", entries: answer.entries.map(({ name, inode }) => [name.toString("latin1"), inode] as const) };
  }
  const { inode, links, uid } = decodeAttributes(answer.attributes);
  return { error: "", inode, links, owner: uid };
}

const KNOWN_MAX = 6;

function learn({ known }: Directory, came: Came): void {
  const found = came.entries?.map(([, inode]) => inode) ?? [came.inode];
  for (const inode of found) if (inode !== undefined && !known.includes(inode)) known.push(inode);
  known.splice(0, Math.max(0, known.length - KNOWN_MAX));
}

export function describe({ asked, came, version, freshness, token }: Recorded): string {
  const at = version === undefined ? "" : ` at ${version.epoch >> 4}.${version.epoch & 15}:${version.sequence}`;
  const behind = version !== undefined && compareVersions(version, token) < 0 ? " (older than its token)" : "";
  return `${freshness} ${JSON.stringify(asked)} → ${came === undefined ? "?" : JSON.stringify(came)}${at}${behind}`;
}
