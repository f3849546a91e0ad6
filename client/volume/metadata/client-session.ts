import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { backoffMs, type Interruptible, pause, singleFlight } from "../../../base/waiting.ts";
import { decodeOutcome, encodeCommand } from "../../../core/codec.ts";
import type { Attributes, Command, Outcome } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { RegionIndex, SessionId, Version } from "../../../core/ids.ts";
import { type Response, Status } from "../../../proto/generated/metadata.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { Router } from "./router.ts";

/**
 * A command, or a function that makes it for each attempt (a write, whose blocks must be in the current primary's
 * bucket).
 */
export type CommandSource = Command | (() => Promise<Command | ErrnoCode>);

export interface Done {
  readonly outcome: Extract<Outcome, { ok: true }>;
  readonly version: Version;
}

export interface MutateOptions {
  readonly interrupt?: Interruptible;
  /** For locks: the server answers once the lock is granted. */
  readonly wait?: boolean;
}

const FIND_MS = 1000;
/**
 * A leader that does not answer by then may have lost its group: the leader is looked up again, and the request is
 * resent.
 */
const ANSWER_MS = 5000;

/**
 * The client's session with the volume (Ongaro's dissertation, section 6.3): each change has a number. A change whose
 * answer was lost is sent again under the same number, to the current leader, so that it is carried out exactly once.
 */
export class ClientSession {
  readonly #router: Router;
  readonly #logger: Logger;
  readonly #client: string;
  readonly #region: () => RegionIndex;
  readonly #writeTimeoutMs: number;
  readonly #onLost: () => void;
  #id = randomSession();
  #open = false;
  #nextNumber = 1;
  /** Numbers without an answer, ascending: the first one is the low-water mark. */
  readonly #outstanding = new Set<number>();
  readonly #opening = singleFlight(() => this.#openOnce());

  constructor(options: {
    router: Router;
    logger: Logger;
    client: string;
    region: () => RegionIndex;
    writeTimeoutMs: number;
    onLost: () => void;
  }) {
    this.#router = options.router;
    this.#logger = options.logger;
    this.#client = options.client;
    this.#region = options.region;
    this.#writeTimeoutMs = options.writeTimeoutMs;
    this.#onLost = options.onLost;
  }

  get id(): SessionId {
    return this.#id;
  }

  /** Opens the session at the primary. One attempt; answers whether the session is open. */
  open(): Promise<boolean> {
    return this.#open ? Promise.resolve(true) : this.#opening();
  }

  async close(): Promise<void> {
    if (this.#open) await this.mutate({ kind: "closeSession", session: this.#id });
    this.#open = false;
  }

  /** Changes the volume. Resolves to the outcome once it is durable, or to an errno; EIO after `writeTimeoutMs`. */
  async mutate(source: CommandSource, options: MutateOptions = {}): Promise<Done | ErrnoCode> {
    const number = this.#nextNumber++;
    this.#outstanding.add(number);
    try {
      return await this.#untilDone(number, source, options);
    } finally {
      this.#outstanding.delete(number);
    }
  }

  async #untilDone(number: number, source: CommandSource, options: MutateOptions): Promise<Done | ErrnoCode> {
    const deadlineMs = performance.now() + this.#writeTimeoutMs;
    let encoded = typeof source === "function" ? undefined : encodeCommand(source);
    for (let attempt = 0; attempt === 0 || options.wait || performance.now() < deadlineMs; attempt++) {
      if (this.#router.closed) return "EIO";
      if (attempt > 0) {
        if (options.interrupt?.signal.aborted) return "EINTR";
        if (!(await pause(backoffMs(attempt, 10, 500), options.interrupt))) return "EINTR";
      }
      if (!(await this.open())) continue;
      if (typeof source === "function") {
        const command = await source();
        if (typeof command === "string") return command;
        encoded = encodeCommand(command);
      }
      const answer = await this.#ask(number, encoded!, options.wait === true);
      if (answer !== undefined) return answer;
    }
    return "EIO";
  }

  /** One attempt; `undefined`: to be retried. */
  async #ask(number: number, encoded: Uint8Array, wait: boolean): Promise<Done | ErrnoCode | undefined> {
    const id = this.#id;
    const lowWater = this.#outstanding.values().next().value ?? number;
    const answer = await this.#router.askPrimary(
      { $case: "mutate", value: { request: number, lowWater, command: asBuffer(encoded), wait } },
      { findMs: FIND_MS, answerMs: wait ? Number.POSITIVE_INFINITY : ANSWER_MS },
    );
    if (typeof answer === "string") return undefined;
    if (answer.status === Status.NO_SESSION) {
      this.#lose(id);
      return undefined;
    }
    if (answer.status !== Status.OK && answer.status !== Status.FAILED) return undefined;
    const result = readOutcome(answer);
    if (result === "NOSESSION") {
      this.#lose(id);
      return undefined;
    }
    return result;
  }

  async #openOnce(): Promise<boolean> {
    const command: Command = {
      kind: "openSession",
      session: this.#id,
      client: this.#client,
      region: this.#region(),
    };
    const value = { request: 0, lowWater: 0, command: asBuffer(encodeCommand(command)), wait: false };
    const answer = await this.#router.askPrimary({ $case: "mutate", value }, { findMs: FIND_MS, answerMs: ANSWER_MS });
    if (typeof answer === "string" || answer.status !== Status.OK) return false;
    const result = readOutcome(answer);
    if (typeof result === "string") {
      this.#logger.error({ error: result }, "the primary refused to open the session");
      return false;
    }
    this.#open = true;
    return true;
  }

  /**
   * The server no longer knows this session: it was opened past a fork, or it expired while this client was silent.
   * Either way none of its outstanding requests was carried out, so they are sent again in a new session.
   */
  #lose(id: SessionId): void {
    if (id !== this.#id) return;
    this.#logger.warn({ session: id }, "the session has expired: opening another");
    this.#id = randomSession();
    this.#open = false;
    this.#router.reconnectAll();
    this.#onLost();
  }
}

function readOutcome(answer: Response): Done | ErrnoCode | "NOSESSION" {
  if (answer.outcome.length === 0) return (answer.error || "EIO") as ErrnoCode;
  const outcome = decodeOutcome(answer.outcome);
  if (!outcome.ok) return outcome.error;
  return { outcome, version: asVersion(answer.version) };
}

/** The attributes in the outcome of a command that always has them. */
export function attributesOf(done: Done): Attributes {
  const { attributes } = done.outcome;
  if (attributes === undefined) throw new Error("the outcome carries no attributes");
  return attributes;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Random, never 0, below 2^53. */
function randomSession(): SessionId {
  return (randomBytes(6).readUIntBE(0, 6) * 16 + 1) as SessionId;
}
