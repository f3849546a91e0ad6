import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { backoffMs, type Interruptible, pause, singleFlight, spreadMs } from "../../../base/waiting.ts";
import { decodeOutcome, encodeCommand } from "../../../core/codec.ts";
import type { Attributes, Command, Outcome } from "../../../core/commands.ts";
import type { ErrnoCode } from "../../../core/errno.ts";
import type { RegionIndex, SessionId, Version } from "../../../core/ids.ts";
import { REQUEST_WINDOW_MAX } from "../../../core/requests.ts";
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
  /** For locks: waits until the lock is granted. */
  readonly wait?: boolean;
}

/** One change. It keeps its number through every attempt, so that it is carried out once. */
interface Change {
  readonly source: CommandSource;
  readonly options: MutateOptions;
  readonly deadlineMs: number;
  /** Undefined until it is sent for the first time. */
  number: number | undefined;
}

const FIND_MS = 1000;
/**
 * A leader that does not answer by then may have lost its group: the leader is looked up again, and the request is
 * resent.
 */
const ANSWER_MS = 5000;
/** The last numbers of the window are for grants: an upload that is retried under its number may need another slice id. */
const GRANT_NUMBERS = 16;
/** How often a change that waits for a number looks whether its time is up. */
const NUMBER_CHECK_MS = 1000;
/** Pause before a lock is tried again whose wait was broken off: its server is gone, or no longer leads. */
const WAIT_AGAIN_MS = 100;

/**
 * The client's session with the volume (Ongaro's dissertation, section 6.3): each change has a number. A change whose
 * answer was lost is sent again under the same number, to the current leader, so that it is carried out exactly once.
 *
 * The servers refuse a number that is REQUEST_WINDOW_MAX or more above the first one without an answer. So a change takes
 * its number when it is sent, not while its blocks are uploaded or its lock is held by another, and at the end of the
 * window it waits for the first answer.
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
  /** Changes that wait for a number at the end of the window, the first one first. */
  readonly #numberless = new Set<{ readonly change: Change; readonly resume: () => void }>();
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
    for (;;) {
      const done = await this.#mutateOnce(source, options);
      if (done !== "EAGAIN" || options.wait !== true || typeof source === "function") return done;
      const error = await this.#untilFree(source);
      if (error !== undefined) return error;
    }
  }

  async #mutateOnce(source: CommandSource, options: MutateOptions): Promise<Done | ErrnoCode> {
    const deadlineMs = options.wait ? Number.POSITIVE_INFINITY : performance.now() + this.#writeTimeoutMs;
    const change: Change = { source, options, deadlineMs, number: undefined };
    try {
      return await this.#untilDone(change);
    } finally {
      if (change.number !== undefined) this.#end(change.number);
    }
  }

  async #untilDone(change: Change): Promise<Done | ErrnoCode> {
    const { source, options, deadlineMs } = change;
    let encoded = typeof source === "function" ? undefined : encodeCommand(source);
    for (let attempt = 0; attempt === 0 || performance.now() < deadlineMs; attempt++) {
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
      const error = this.#takeNumber(change) ? undefined : await this.#untilNumbered(change);
      if (error !== undefined) return error;
      const answer = await this.#ask(change.number!, encoded!);
      if (answer !== undefined) return answer;
    }
    return "EIO";
  }

  /** @returns false at the end of the window. */
  #takeNumber(change: Change): boolean {
    if (change.number !== undefined) return true;
    const isGrant = typeof change.source !== "function" && change.source.kind === "grantSlices";
    if (!isGrant && this.#numberless.size > 0) return false;
    return this.#giveNumber(change, isGrant ? REQUEST_WINDOW_MAX : REQUEST_WINDOW_MAX - GRANT_NUMBERS);
  }

  #giveNumber(change: Change, window: number): boolean {
    if (this.#nextNumber >= this.#lowWater + window) return false;
    change.number = this.#nextNumber++;
    this.#outstanding.add(change.number);
    return true;
  }

  async #untilNumbered(change: Change): Promise<ErrnoCode | undefined> {
    const numbered = Promise.withResolvers<true>();
    const waiting = { change, resume: () => numbered.resolve(true) };
    this.#numberless.add(waiting);
    let uninterrupted = true;
    while (
      change.number === undefined &&
      uninterrupted &&
      performance.now() < change.deadlineMs &&
      !this.#router.closed
    ) {
      uninterrupted = await Promise.race([numbered.promise, pause(NUMBER_CHECK_MS, change.options.interrupt)]);
    }
    this.#numberless.delete(waiting);
    if (change.number !== undefined) return undefined;
    return uninterrupted ? "EIO" : "EINTR";
  }

  /** The change is answered, or given up: those that wait for a number take it. */
  #end(number: number): void {
    this.#outstanding.delete(number);
    for (const waiting of this.#numberless) {
      if (!this.#giveNumber(waiting.change, REQUEST_WINDOW_MAX - GRANT_NUMBERS)) return;
      this.#numberless.delete(waiting);
      waiting.resume();
    }
  }

  /** The first number without an answer. */
  get #lowWater(): number {
    return this.#outstanding.values().next().value ?? this.#nextNumber;
  }

  /** One attempt; `undefined`: to be retried. */
  async #ask(number: number, encoded: Uint8Array): Promise<Done | ErrnoCode | undefined> {
    const id = this.#id;
    const answer = await this.#router.askPrimary(
      {
        $case: "mutate",
        value: { request: number, lowWater: this.#lowWater, command: asBuffer(encoded), wait: false },
      },
      { findMs: FIND_MS, answerMs: ANSWER_MS },
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

  /**
   * Waits until a lock is free, as far as its server knows, which then keeps it for this session for a moment. The
   * request changes nothing, so it has no number. EINTR: the owner has unlocked, which ends its waits.
   */
  async #untilFree(lock: Command): Promise<"EINTR" | undefined> {
    const value = { request: 0, lowWater: 0, command: asBuffer(encodeCommand(lock)), wait: true };
    const answer = await this.#router.askPrimary(
      { $case: "mutate", value },
      { findMs: FIND_MS, answerMs: Number.POSITIVE_INFINITY },
    );
    if (typeof answer !== "string" && answer.status === Status.FAILED && answer.error === "EINTR") return "EINTR";
    if (typeof answer === "string" || answer.status > Status.FAILED) await pause(spreadMs(WAIT_AGAIN_MS));
    return undefined;
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
