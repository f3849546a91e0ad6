import type { Group, Proposed } from "../../consensus/group.ts";
import { encodeCommand, encodeProposed } from "../../core/codec.ts";
import type { Command } from "../../core/commands.ts";
import type { SessionId, Time } from "../../core/ids.ts";
import { encodeLocal, type LocalEntry } from "../machine/local-entries.ts";
import type { Applied, Machine } from "../machine/machine.ts";

const INTERNAL = 0 as SessionId;

export interface FromSession {
  readonly session: SessionId;
  readonly request: number;
  readonly lowWater: number;
}

/**
 * Stamps commands and proposes them to the group. The stamp is the only way in which time enters the state: it never goes
 * back, not even when the clock does or the leader changes.
 */
export class Proposer {
  readonly #group: Group;
  readonly #machine: Machine;
  #lastTime: Time = { seconds: 0, nanoseconds: 0 };

  constructor(group: Group, machine: Machine) {
    this.#group = group;
    this.#machine = machine;
  }

  /** `command` is encoded. `done` is never called synchronously; the outcome of its result is an `Applied`. */
  propose(command: Uint8Array, from: FromSession, done: (result: Proposed) => void): void {
    this.#group.propose(
      encodeProposed({ epoch: this.#machine.version.epoch, now: this.#now(), ...from }, command),
      done,
    );
  }

  /** Proposes a command of the server's own. Resolves with undefined if it was not committed, or if that is unknown. */
  async internal(command: Command): Promise<Applied | undefined> {
    const encoded = encodeCommand(command);
    const result = await new Promise<Proposed>((resolve) => {
      this.propose(encoded, { session: INTERNAL, request: 0, lowWater: 0 }, resolve);
    });
    return result.ok ? (result.outcome as Applied) : undefined;
  }

  /** Proposes an entry of the region's own. Resolves with true once it is committed and applied here. */
  async local(entry: LocalEntry): Promise<boolean> {
    const result = await new Promise<Proposed>((resolve) => this.#group.propose(encodeLocal(entry), resolve));
    return result.ok;
  }

  #now(): Time {
    const nowMs = Date.now();
    const clock: Time = { seconds: Math.floor(nowMs / 1000), nanoseconds: (nowMs % 1000) * 1_000_000 };
    this.#lastTime = latest(clock, latest(this.#lastTime, this.#machine.lastTime));
    return this.#lastTime;
  }
}

function latest(a: Time, b: Time): Time {
  return a.seconds > b.seconds || (a.seconds === b.seconds && a.nanoseconds >= b.nanoseconds) ? a : b;
}
