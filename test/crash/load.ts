import { decodeChunk } from "../../core/codec.ts";
import type { Command, Outcome } from "../../core/commands.ts";
import type { ByteString, Inode } from "../../core/ids.ts";
import { ROOT_INODE } from "../../core/ids.ts";
import { Freshness, Status } from "../../proto/generated/metadata.ts";
import { makeCommand, outcomeOf, RawClient } from "../meta-server/raw-client.ts";
import { until } from "../support/until.ts";

const DIRECTORIES = 8;
const RETRY_MS = 5;
const PAGE = 1_000;
const PATIENCE_MS = 90_000;

/** Runs creates, writes, renames and removals in parallel, and records every change that the servers acknowledged. */
export class Load {
  readonly #findLeader: () => Promise<{ address: string }>;
  readonly #session = Math.floor(Math.random() * 2 ** 48) + 1;
  readonly #unanswered = new Set<number>();
  readonly #given = new Set<number>();
  #connection: Promise<RawClient> | undefined;
  #nextRequest = 1;
  #stopping = false;
  #workers: Promise<void>[] = [];
  #directories: Inode[] = [];
  /** The last acknowledged state of each file, by name. */
  readonly #files = new Map<string, { readonly directory: number; readonly inode: Inode; readonly content: string }>();
  #acknowledged = 0;
  #round = 0;
  #failed: Error | undefined;
  #closed = false;

  constructor(findLeader: () => Promise<{ address: string }>) {
    this.#findLeader = findLeader;
  }

  /** Commands that were sent to a server but not acknowledged yet. */
  get inFlight(): number {
    return this.#given.size;
  }

  /** Waits for this many more acknowledgements. @throws Error for an impossible answer. */
  async progress(commands: number): Promise<void> {
    const from = this.#acknowledged;
    const there = () => this.#failed !== undefined || this.#acknowledged >= from + commands;
    await until("acknowledgements", there, PATIENCE_MS);
    if (this.#failed !== undefined) throw this.#failed;
  }

  start(workers: number): void {
    this.#stopping = false;
    this.#round += 1;
    this.#workers = Array.from({ length: workers }, (_, worker) =>
      this.#work(`${this.#round}.${worker}`).catch((error: Error) => {
        this.#failed ??= error;
      }),
    );
  }

  /** Stops the workers once their commands are answered. @throws Error for an impossible answer. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#workers);
    if (this.#failed !== undefined) throw this.#failed;
  }

  async #work(worker: string): Promise<void> {
    const directories = await this.#prepare();
    for (let step = 0; !this.#stopping; step += 1) {
      const from = step % DIRECTORIES;
      const to = (step + 1) % DIRECTORIES;
      const [first, last] = [`${worker}.${step}`, `${worker}.${step}.renamed`];
      const inode = attributesOf(await this.#send(makeCommand(directories[from]!, first))).inode;
      this.#files.set(first, { directory: from, inode, content: "" });
      const content = `${first} `.repeat((step % 7) + 1);
      await this.#send({ kind: "write", inode, extents: [{ kind: "inline", offset: 0, data: Buffer.from(content) }] });
      this.#files.set(first, { directory: from, inode, content });
      await this.#send(rename(directories[from]!, first, directories[to]!, last));
      this.#files.delete(first);
      this.#files.set(last, { directory: to, inode, content });
      if (step % 4 !== 3) continue;
      await this.#send({ kind: "unlink", parent: directories[to]!, name: last as ByteString });
      this.#files.delete(last);
    }
  }

  /** Creates the directories, once. */
  async #prepare(): Promise<readonly Inode[]> {
    this.#preparing ??= (async () => {
      for (let i = 0; i < DIRECTORIES; i += 1) {
        this.#directories.push(attributesOf(await this.#send(makeCommand(ROOT_INODE, `d${i}`, "directory"))).inode);
      }
    })();
    await this.#preparing;
    return this.#directories;
  }
  #preparing: Promise<void> | undefined;

  /**
   * Sends a command to the current leader, with the same request number, until it is answered.
   * @throws Error when it fails.
   */
  async #send(command: Command): Promise<Extract<Outcome, { ok: true }>> {
    const request = this.#nextRequest++;
    this.#unanswered.add(request);
    try {
      for (;;) {
        const client = await this.#connect();
        const lowWater = this.#unanswered.values().next().value!;
        if (!client.ended) this.#given.add(request);
        const answer = await client.mutate(command, { request, lowWater });
        if (answer.status === Status.OK) {
          this.#acknowledged += 1;
          return outcomeOf(answer) as Extract<Outcome, { ok: true }>;
        }
        if (answer.status === Status.FAILED || answer.status === Status.NO_SESSION) {
          throw new Error(`request ${request}, ${JSON.stringify(command)}: ${answer.error}`);
        }
        if (answer.status !== Status.BUSY) this.#disconnect(client);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    } finally {
      this.#unanswered.delete(request);
      this.#given.delete(request);
    }
  }

  #connect(): Promise<RawClient> {
    this.#connection ??= this.#open();
    return this.#connection;
  }

  async #open(): Promise<RawClient> {
    while (!this.#closed) {
      const found = await this.#findLeader().catch(() => undefined);
      if (found === undefined) continue;
      const client = new RawClient(found.address, { session: this.#session });
      if ((await client.open()).status === Status.OK) return client;
      client.close();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    throw new Error("closed");
  }

  #disconnect(client: RawClient): void {
    if (client.ended && this.#connection === undefined) return;
    client.close();
    this.#connection = undefined;
  }

  /** Compares the servers' state with what they acknowledged. The load must be stopped. @returns the differences. */
  async differences(): Promise<string[]> {
    const client = await this.#connect();
    const found = new Map<string, string>();
    for (const [directory, inode] of this.#directories.entries()) {
      for (let after = Buffer.alloc(0), end = false; !end; ) {
        const value = { inode, after, limit: PAGE, attributes: false };
        const page = await client.ask({ $case: "readDirectory", value }, Freshness.COMMITTED);
        if (page.status !== Status.OK) throw new Error(`listing: ${page.error}`);
        const contents = await Promise.all(page.entries.map((entry) => contentOf(client, entry.inode)));
        for (const [i, entry] of page.entries.entries()) {
          found.set(entry.name.toString(), `${directory} ${entry.inode} ${contents[i]}`);
        }
        end = page.end;
        if (!end) after = page.entries.at(-1)!.name as Buffer<ArrayBuffer>;
      }
    }
    const acknowledged = new Map(
      [...this.#files].map(([name, it]) => [name, `${it.directory} ${it.inode} ${it.content}`]),
    );
    return [...new Set([...acknowledged.keys(), ...found.keys()])]
      .filter((name) => acknowledged.get(name) !== found.get(name))
      .map((name) => `${name}: acknowledged ${acknowledged.get(name)}, there ${found.get(name)}`);
  }

  close(): void {
    this.#stopping = true;
    this.#closed = true;
    this.#connection?.then((client) => client.close()).catch(() => {});
  }
}

async function contentOf(client: RawClient, inode: number): Promise<string> {
  const answer = await client.ask({ $case: "readChunks", value: { inode, first: 0, count: 1 } }, Freshness.TOKEN);
  const segments = answer.chunks.flatMap(({ chunk }) => decodeChunk(chunk).segments);
  return segments.map((it) => (it.kind === "inline" ? Buffer.from(it.data).toString() : "a slice")).join("");
}

function rename(parent: Inode, name: string, newParent: Inode, newName: string): Command {
  const names = { name: name as ByteString, newName: newName as ByteString };
  return { kind: "rename", parent, newParent, ...names, mode: "noreplace" };
}

function attributesOf(outcome: Extract<Outcome, { ok: true }>): { inode: Inode } {
  return outcome.attributes!;
}
