import type { Group } from "../../../consensus/group.ts";
import type { Version } from "../../../core/ids.ts";
import { Freshness } from "../../../proto/generated/metadata.ts";
import type { Machine } from "../../machine/machine.ts";
import {
  afterLeadership,
  askedFor,
  type Condition,
  commitCondition,
  type Passage,
  type Place,
  PROOFS,
  type Proof,
  tokenCondition,
} from "./read-rules.ts";
import { VersionWaiters } from "./version-waiters.ts";

/** How a mirror asks the primary what it has committed; undefined if the primary cannot be asked. */
export type AskPrimary = (done: (committed: Version | undefined) => void) => void;

const APPLY_WAIT_MS = 2_000;
const ROLE_WAIT_MS = 2_000;
const ROLE_POLL_MS = 20;

type Prove = (atLeast: Version | undefined, pass: (passage: Passage) => void) => void;

/**
 * Lets a read pass once this server's state is as new as the read asks for. The decisions are in read-rules.ts; this class
 * asks and waits.
 */
export class ReadGate {
  readonly #group: Group;
  readonly #machine: Machine;
  readonly #askPrimary: AskPrimary;
  readonly #mayBeDeposed: () => boolean;
  readonly #waiters: VersionWaiters;
  #gathered: ((confirmed: boolean) => void)[] = [];

  /** `mayBeDeposed`: whether this region's epoch may have ended unnoticed, because this server has just started. */
  constructor(server: { group: Group; machine: Machine }, askPrimary: AskPrimary, mayBeDeposed: () => boolean) {
    this.#group = server.group;
    this.#machine = server.machine;
    this.#askPrimary = askPrimary;
    this.#mayBeDeposed = mayBeDeposed;
    this.#waiters = new VersionWaiters(() => this.#machine.version);
    this.#machine.onTurn(() => this.#waiters.check());
  }

  /** `pass` is always called: every wait has a deadline. */
  enter(freshness: Freshness, atLeast: Version | undefined, pass: (passage: Passage) => void): void {
    this.#prove[PROOFS[this.#place][askedFor(freshness)]](atLeast, pass);
  }

  get #place(): Place {
    return this.#group.leading ? this.#machine.role : "not-leader";
  }

  readonly #prove: { readonly [P in Proof]: Prove } = {
    none: (_, pass) => pass("not-leader"),
    leadership: (atLeast, pass) =>
      this.#readIndex((confirmed) => {
        const at = { version: this.#machine.version, mayBeDeposed: this.#mayBeDeposed() };
        pass(afterLeadership(at, confirmed, atLeast));
      }),
    token: (atLeast, pass) => this.#passWhen(tokenCondition(atLeast), pass),
    "primary's commit": (atLeast, pass) =>
      this.#askPrimary((committed) => this.#passWhen(commitCondition(committed, atLeast), pass)),
    "next epoch": (atLeast, pass) => this.#whileSealed(atLeast, pass),
  };

  /** All reads of one turn of the event loop share one question to the group. */
  #readIndex(done: (confirmed: boolean) => void): void {
    this.#gathered.push(done);
    if (this.#gathered.length > 1) return;
    queueMicrotask(() => {
      const gathered = this.#gathered;
      this.#gathered = [];
      this.#group.readIndex((confirmed) => {
        for (const one of gathered) one(confirmed);
      });
    });
  }

  #passWhen({ applied, isAwaited, passage }: Condition, pass: (passage: Passage) => void): void {
    if (applied === undefined) pass(passage);
    else this.#waiters.wait(applied, isAwaited ? APPLY_WAIT_MS : 0, (reached) => pass(reached ? passage : "behind"));
  }

  #whileSealed(atLeast: Version | undefined, pass: (passage: Passage) => void): void {
    const deadlineMs = performance.now() + ROLE_WAIT_MS;
    const timer = setInterval(() => {
      const isSealed = this.#place === "sealed";
      if (isSealed && performance.now() < deadlineMs) return;
      clearInterval(timer);
      if (isSealed) pass("behind");
      else this.enter(Freshness.COMMITTED, atLeast, pass);
    }, ROLE_POLL_MS);
  }

  close(): void {
    this.#waiters.close();
  }
}
