import type { Group } from "../../../consensus/group.ts";
import { compareVersions, type Version } from "../../../core/ids.ts";
import { Freshness } from "../../../proto/generated/metadata.ts";
import type { Machine } from "../../machine/machine.ts";
import { VersionWaiters } from "./version-waiters.ts";

/** `unreachable`: the primary could not be asked; what is here may be read as of now. */
export type Passage = "read" | "unreachable" | "behind" | "not-leader";

/** How a mirror asks the primary what it has committed; undefined when it cannot be asked. */
export type AskPrimary = (done: (committed: Version | undefined) => void) => void;

const APPLY_WAIT_MS = 2_000;
const ROLE_WAIT_MS = 2_000;
const ROLE_POLL_MS = 20;

/** Lets a read through once this server's state is as new as the read asks for. */
export class ReadGate {
  readonly #group: Group;
  readonly #machine: Machine;
  readonly #askPrimary: AskPrimary;
  readonly #mayBeDeposed: () => boolean;
  readonly #waiters: VersionWaiters;
  #gathered: ((confirmed: boolean) => void)[] = [];

  /** `mayBeDeposed`: this region's epoch may have ended without its knowing (it has just started). */
  constructor(server: { group: Group; machine: Machine }, askPrimary: AskPrimary, mayBeDeposed: () => boolean) {
    this.#group = server.group;
    this.#machine = server.machine;
    this.#askPrimary = askPrimary;
    this.#mayBeDeposed = mayBeDeposed;
    this.#waiters = new VersionWaiters(() => this.#machine.version);
    this.#machine.onTurn(() => this.#waiters.check());
  }

  enter(freshness: Freshness, atLeast: Version | undefined, pass: (passage: Passage) => void): void {
    if (!this.#group.leading) {
      pass("not-leader");
      return;
    }
    const { role } = this.#machine;
    if (role === "mirror" || role === "fenced") {
      this.#atMirror(freshness, atLeast, pass);
      return;
    }
    if (role === "sealed" && freshness === Freshness.COMMITTED) {
      this.#whileSealed(atLeast, pass);
      return;
    }
    this.#readIndex((confirmed) => {
      if (!confirmed) return pass("not-leader");
      if (atLeast !== undefined && compareVersions(this.#machine.version, atLeast) < 0) return pass("behind");
      pass(this.#mayBeDeposed() ? "unreachable" : "read");
    });
  }

  /** One question to the group for all that is read in one turn of the event loop. */
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

  #atMirror(freshness: Freshness, atLeast: Version | undefined, pass: (passage: Passage) => void): void {
    if (freshness === Freshness.TOKEN) {
      if (atLeast === undefined) {
        pass("read");
        return;
      }
      this.#waiters.wait(atLeast, APPLY_WAIT_MS, (reached) => pass(reached ? "read" : "behind"));
      return;
    }
    this.#askPrimary((committed) => {
      const needed = committed === undefined ? atLeast : newest(committed, atLeast);
      if (needed === undefined) return pass("unreachable");
      this.#waiters.wait(needed, committed === undefined ? 0 : APPLY_WAIT_MS, (reached) => {
        if (!reached) return pass("behind");
        pass(committed === undefined ? "unreachable" : "read");
      });
    });
  }

  /** The next epoch may have begun elsewhere: the answer waits until this region knows whose it is. */
  #whileSealed(atLeast: Version | undefined, pass: (passage: Passage) => void): void {
    const deadlineMs = performance.now() + ROLE_WAIT_MS;
    const timer = setInterval(() => {
      if (this.#machine.role === "sealed" && this.#group.leading && performance.now() < deadlineMs) return;
      clearInterval(timer);
      if (this.#machine.role === "sealed") return pass(this.#group.leading ? "behind" : "not-leader");
      this.enter(Freshness.COMMITTED, atLeast, pass);
    }, ROLE_POLL_MS);
  }

  close(): void {
    this.#waiters.close();
  }
}

function newest(a: Version, b: Version | undefined): Version {
  return b !== undefined && compareVersions(b, a) > 0 ? b : a;
}
