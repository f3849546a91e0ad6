import {
  changed,
  decodeConfiguration,
  firstConfiguration,
  type MembershipChange,
  UNKNOWN_CONFIGURATION,
} from "../../../consensus/raft/configuration.ts";
import type { Entry } from "../../../consensus/raft/entry.ts";
import type { Save } from "../../../consensus/raft/input.ts";
import type { HardState, Message } from "../../../consensus/raft/messages.ts";
import { Raft } from "../../../consensus/raft/raft.ts";

export interface MemberOptions {
  readonly voters?: readonly number[];
  readonly term?: number;
  readonly vote?: number;
  /** Terms of the entries in its log at the start. */
  readonly log?: readonly number[];
  readonly commit?: number;
  readonly random?: number;
  /** Ticks since it started. */
  readonly ticks?: number;
  /** The log on its disk; instead of `log`. */
  readonly entries?: readonly Entry[];
  readonly hardState?: HardState;
  readonly leaseMs?: number | undefined;
}

/** One core without runtime: the test reads what it sends, and decides when its writes become durable (`save`). */
export class Member {
  readonly raft: Raft;
  readonly #options: MemberOptions;
  #entries: Entry[];
  #hardState: HardState;
  /** Messages since the last takeMessages; promises join them once `save` has made their write durable. */
  #sent: Message[] = [];
  #unsaved: { save: Save | undefined; promises: readonly Message[] }[] = [];
  readonly applied: string[] = [];
  readonly reads: { id: number; index: number | undefined }[] = [];

  constructor(self: number, options: MemberOptions = {}) {
    const entries = options.entries ?? (options.log ?? []).map((term, i) => entry(i + 1, term));
    this.#options = options;
    this.#entries = [...entries];
    this.#hardState = options.hardState ?? { term: options.term ?? 0, vote: options.vote ?? 0, commit: 0 };
    const first = firstConfiguration((options.voters ?? [1, 2, 3]).map((id) => ({ id, address: `m${id}` })));
    const later = entries.filter(({ kind }) => kind === "configuration");
    const termStarts = entries.filter(({ term }, i) => term !== entries[i - 1]?.term);
    this.raft = new Raft(
      {
        self,
        electionTicks: 10,
        heartbeatTicks: 1,
        random: () => options.random ?? 0,
        appendBytesMax: 1000,
        window: { messagesMax: 3, bytesMax: 10_000 },
        leaseMs: options.leaseMs,
      },
      {
        hardState: this.#hardState,
        log: {
          base: { index: 0, term: 0 },
          lastIndex: entries.length,
          termStarts,
          commit: options.commit ?? 0,
          applied: 0,
          tail: entries,
          configurations: [
            first.members.length === 0 ? UNKNOWN_CONFIGURATION : first,
            ...later.map(({ index, data }) => decodeConfiguration(index, data)),
          ],
        },
        tailBytesMax: 1 << 20,
      },
    );
    this.tick(options.ticks ?? 0).takeMessages();
  }

  /** What a test compares. A plain object: a failed comparison of the Raft itself cannot be printed. */
  get view() {
    const { role, term, vote, leader, accepting, changeRefusal } = this.raft;
    return { role, term, vote, leader, accepting, changeRefusal };
  }

  tick(times = 1): this {
    for (let i = 0; i < times; i++) this.raft.step({ type: "tick" });
    return this.#takeReady();
  }

  /** The time on its monotonic clock. */
  clock(nowMs: number): this {
    this.raft.step({ type: "clock", nowMs });
    return this;
  }

  receive(...messages: Message[]): this {
    for (const message of messages) this.raft.step({ type: "message", message });
    return this.#takeReady();
  }

  propose(...texts: string[]): this {
    this.raft.step({ type: "propose", data: texts.map((text) => Buffer.from(text)) });
    return this.#takeReady();
  }

  readIndex(id: number): this {
    this.raft.step({ type: "readIndex", id });
    return this.#takeReady();
  }

  /** As the group proposes it. Nothing happens while `changeRefusal` is set. */
  change(change: MembershipChange): this {
    const to = changed(this.raft.log.configuration, change);
    if (typeof to === "string") throw new Error(to);
    this.raft.step({ type: "configure", to });
    return this.#takeReady();
  }

  /** The same member after a restart, with what is durable on its disk. */
  restarted(): Member {
    const { voters } = this.#options;
    const settings = voters === undefined ? {} : { voters };
    return new Member(this.raft.id, { ...settings, entries: this.#entries, hardState: this.#hardState });
  }

  transfer(to: number): this {
    this.raft.step({ type: "transfer", to });
    return this.#takeReady();
  }

  /** Everything written so far becomes durable. */
  save(): this {
    while (this.#unsaved.length > 0) {
      const { save, promises } = this.#unsaved.shift()!;
      if (save !== undefined) this.#write(save);
      this.#sent.push(...promises);
      this.#takeReady();
    }
    return this;
  }

  /** The messages since the last call, as lines. */
  sent(): string[] {
    return this.takeMessages().map(line);
  }

  takeMessages(): Message[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  #write(save: Save): void {
    this.#hardState = save.hardState;
    const first = save.entries[0]?.index ?? this.#entries.length + 1;
    this.#entries = [...this.#entries.slice(0, first - 1), ...save.entries];
    this.raft.step({ type: "saved", save });
  }

  #takeReady(): this {
    const { messages, save, promises, committed, reads } = this.raft.takeReady(1 << 20);
    this.#sent.push(...messages);
    if (save !== undefined || (promises.length > 0 && this.#unsaved.length > 0)) this.#unsaved.push({ save, promises });
    else this.#sent.push(...promises);
    for (const { kind, data } of committed)
      this.applied.push(kind === "application" ? Buffer.from(data).toString() : kind);
    this.reads.push(...reads);
    return this;
  }
}

/** Delivers messages between these members, with every write durable at once, until none sends any. Others are down. */
export function settle(...members: Member[]): void {
  for (let round = 0; round < 100; round++) {
    const messages = members.flatMap((member) => member.save().takeMessages());
    if (messages.length === 0) return;
    for (const message of messages) members.find(({ raft }) => raft.id === message.to)?.receive(message);
  }
  throw new Error("the members never stop sending");
}

export function entry(index: number, term: number, text = `e${index}`): Entry {
  const data = Buffer.from(text);
  return { index, term, kind: "application", data, encoded: data };
}

/** `append 1>2 t3 after 4@2 [5@3] commit 4` */
function line(message: Message): string {
  const head = `${message.type} ${message.from}>${message.to} t${message.term}`;
  switch (message.type) {
    case "append": {
      const { previous, entries, commit } = message;
      const list = entries.map(({ index, term }) => `${index}@${term}`).join(" ");
      return `${head} after ${previous.index}@${previous.term} [${list}] commit ${commit}`;
    }
    case "appendAccepted":
      return `${head} match ${message.match}`;
    case "appendRejected":
      return `${head} rejected ${message.rejected} hint ${message.hint.index}@${message.hint.term}`;
    case "preVote":
    case "vote":
      return `${head} last ${message.last.index}@${message.last.term}`;
    case "preVoteResponse":
    case "voteResponse":
      return `${head} ${message.granted ? "granted" : "refused"}`;
    case "heartbeat":
      return `${head} commit ${message.commit} round ${message.round}`;
    case "heartbeatResponse":
      return `${head} round ${message.round}`;
    case "notMember":
      return `${head} since ${message.since}`;
    case "readRequest":
      return `${head} id ${message.id}`;
    case "readResponse":
      return `${head} id ${message.id} index ${message.index}`;
    case "timeoutNow":
      return head;
  }
}
