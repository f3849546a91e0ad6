import { RECORDS } from "../../../core/codec/records.ts";
import type { Inode, SessionId } from "../../../core/ids.ts";
import { KEY_PREFIX, keyId } from "../../../core/keys.ts";
import type { Hello } from "../../../proto/generated/metadata.ts";
import type { ServerContext } from "../../region/context.ts";
import type { SessionStream } from "./session-stream.ts";

interface Client {
  streams: number;
  heardMs: number;
  /** Number of open handles, by inode. */
  readonly open: Map<number, number>;
}

const CHECKS_PER_TIMEOUT = 10;
const CHECK_MS_MAX = 30_000;

/**
 * What this leader knows of the clients of its region: which are alive, and which files they have open. None of it is in the
 * log: a new leader learns it from the clients' hellos, and treats every file as open until each client has sent one, or has
 * had the time to.
 */
export class Clients {
  readonly #context: ServerContext;
  readonly #timeoutMs: number;
  readonly #clients = new Map<number, Client>();
  readonly #openCount = new Map<number, number>();
  #leadingSinceMs = 0;
  /** Sessions of this region whose clients have sent nothing since this server leads; undefined until they have been read. */
  #silent: Set<number> | undefined;
  readonly #timer: NodeJS.Timeout;
  #checking = false;

  constructor(context: ServerContext, timeoutMs: number) {
    this.#context = context;
    this.#timeoutMs = timeoutMs;
    this.#timer = setInterval(() => void this.#check(), Math.min(timeoutMs / CHECKS_PER_TIMEOUT, CHECK_MS_MAX));
    this.#timer.unref();
  }

  /** This server has become the leader: every client gets the full timeout. */
  async startLeading(): Promise<void> {
    this.#leadingSinceMs = performance.now();
    this.#silent = undefined;
    for (const [session, client] of this.#clients) if (client.streams <= 0) this.#forget(session, client);
    const silent = new Set<number>();
    for (const [session, region] of await this.#sessions()) {
      if (region === this.#context.machine.regionIndex && !this.#clients.has(session)) silent.add(session);
    }
    this.#silent = silent;
  }

  hello(hello: Hello): void {
    const client = this.#client(hello.session);
    client.streams += 1;
    this.#closeAll(client);
    for (const { inode, handles } of hello.open) this.opened(hello.session, inode, handles);
  }

  streamEnded(stream: SessionStream): void {
    const client = this.#clients.get(stream.session);
    if (client === undefined) return;
    client.streams -= 1;
    client.heardMs = performance.now();
  }

  heard(session: number): void {
    const client = this.#clients.get(session);
    if (client !== undefined) client.heardMs = performance.now();
  }

  opened(session: number, inode: number, handles: number): void {
    const { open } = this.#client(session);
    open.set(inode, (open.get(inode) ?? 0) + handles);
    this.#openCount.set(inode, (this.#openCount.get(inode) ?? 0) + handles);
  }

  released(session: number, inode: number, handles: number): void {
    const { open } = this.#client(session);
    const had = open.get(inode) ?? 0;
    const given = Math.min(had, handles);
    if (given === had) open.delete(inode);
    else open.set(inode, had - given);
    const left = (this.#openCount.get(inode) ?? 0) - given;
    if (left > 0) this.#openCount.set(inode, left);
    else this.#openCount.delete(inode);
  }

  /** Whether a client of this region has the inode open, or may have. */
  isOpen(inode: Inode): boolean {
    return !this.#allHeard() || this.#openCount.has(inode);
  }

  #allHeard(): boolean {
    if (this.#silent === undefined) return false;
    return this.#silent.size === 0 || performance.now() - this.#leadingSinceMs > this.#timeoutMs;
  }

  #client(session: number): Client {
    let client = this.#clients.get(session);
    if (client === undefined) {
      client = { streams: 0, heardMs: performance.now(), open: new Map() };
      this.#clients.set(session, client);
    }
    client.heardMs = performance.now();
    this.#silent?.delete(session);
    return client;
  }

  #forget(session: number, client: Client): void {
    this.#closeAll(client);
    this.#clients.delete(session);
  }

  #closeAll(client: Client): void {
    for (const [inode, handles] of client.open) {
      const left = (this.#openCount.get(inode) ?? 0) - handles;
      if (left > 0) this.#openCount.set(inode, left);
      else this.#openCount.delete(inode);
    }
    client.open.clear();
  }

  async #sessions(): Promise<Map<number, number>> {
    const sessions = new Map<number, number>();
    for await (const page of this.#context.machine.view.pages(KEY_PREFIX.session)) {
      for (const [key, value] of page) sessions.set(keyId(key), RECORDS.session.decode(value).region);
    }
    return sessions;
  }

  /** Forgets clients that have been silent for longer than the timeout. The primary's leader ends their sessions. */
  async #check(): Promise<void> {
    if (this.#checking || !this.#context.group.leading) return;
    this.#checking = true;
    try {
      const oldestMs = performance.now() - this.#timeoutMs;
      for (const [session, client] of this.#clients) {
        if (client.streams > 0 || client.heardMs > oldestMs) continue;
        this.#forget(session, client);
      }
      if (this.#context.isServing() && this.#leadingSinceMs < oldestMs) await this.#endSilent();
    } finally {
      this.#checking = false;
    }
  }

  async #endSilent(): Promise<void> {
    for (const session of (await this.#sessions()).keys()) {
      if (this.#clients.has(session)) continue;
      this.#context.logger.info(
        { session },
        "session ended: nothing was received from its client for the session timeout",
      );
      await this.#context.proposer.internal({ kind: "closeSession", session: session as SessionId });
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
