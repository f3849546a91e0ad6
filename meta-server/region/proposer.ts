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

/** Puts the stamp on commands, where time enters once and never goes back, and proposes them. */
export class Proposer {
  readonly #group: Group;
  readonly #machine: Machine;
  #lastTime: Time = { seconds: 0, nanoseconds: 0 };

  constructor(group: Group, machine: Machine) {
    this.#group = group;
    this.#machine = machine;
  }

  /** `command`: encoded. `done` is never called synchronously; its outcome is an Applied. */
  propose(command: Uint8Array, from: FromSession, done: (result: Proposed) => void): void {
    this.#group.propose(
      encodeProposed({ epoch: this.#machine.version.epoch, now: this.#now(), ...from }, command),
      done,
    );
  }

  /** A command of the server's own. `undefined`: it was not committed here, or nobody knows. */
  async internal(command: Command): Promise<Applied | undefined> {
    const encoded = encodeCommand(command);
    const result = await new Promise<Proposed>((resolve) => {
      this.propose(encoded, { session: INTERNAL, request: 0, lowWater: 0 }, resolve);
    });
    return result.ok ? (result.outcome as Applied) : undefined;
  }

  /** True once it is committed and applied here. */
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
