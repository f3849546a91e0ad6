import type { Proposed } from "../../../consensus/group.ts";
import { decodeCommand } from "../../../core/codec.ts";
import { COMMANDS, type Command } from "../../../core/commands.ts";
import type { SessionId } from "../../../core/ids.ts";
import { type Mutate, type Response, Status } from "../../../proto/generated/metadata.ts";
import type { Applied } from "../../machine/machine.ts";
import { leaderAddress, type ServerContext } from "../../region/context.ts";
import { LockQueues } from "./lock-queues.ts";
import { asBuffer, failed, response } from "./responses.ts";
import type { SessionStream } from "./session-stream.ts";

const COMMAND_BYTES_MAX = 4 * 1024 * 1024;

/** Handles the changes of clients: checks, stamps and proposes them, and answers once they are durable and applied. */
export class Mutations {
  readonly #context: ServerContext;
  readonly #mayServe: () => boolean;
  readonly #locks: LockQueues;

  /** `mayServe` is false while a primary that has just started does not know whether its epoch is still current. */
  constructor(context: ServerContext, mayServe: () => boolean) {
    this.#context = context;
    this.#mayServe = mayServe;
    this.#locks = new LockQueues(context.machine);
  }

  handle(stream: SessionStream, id: number, mutate: Mutate): void {
    const refusal = this.#refusal(id);
    if (refusal !== undefined) {
      stream.respond(refusal);
      return;
    }
    const command = mutate.command.length > COMMAND_BYTES_MAX ? undefined : decode(mutate.command);
    if (command === undefined) {
      stream.respond(failed(id, "EINVAL", this.#context.machine.version));
      return;
    }
    if (!isAllowed(command, stream.session)) {
      stream.respond(failed(id, "EPERM", this.#context.machine.version));
      return;
    }
    const propose = (done: () => void) => this.#propose(stream, id, mutate, done);
    if (command.kind !== "lock") {
      propose(() => {});
      return;
    }
    const refuse = (why: "EINTR" | "moved") => {
      stream.respond(why === "moved" ? this.#notPrimary(id) : failed(id, why, this.#context.machine.version));
    };
    const isAnnounced = mutate.wait && mutate.request === 0;
    const announce = () => stream.respond(response(id, Status.OK, this.#context.machine.version));
    const { wait } = mutate;
    this.#locks.enter({ stream, command, wait, announce: isAnnounced ? announce : undefined, propose, refuse });
  }

  streamEnded(stream: SessionStream): void {
    this.#locks.forget(stream);
  }

  /** Leadership or the role was lost: refuses the requests that wait for locks. */
  dropWaiting(): void {
    this.#locks.moved();
  }

  #refusal(id: number): Response | undefined {
    const { group, machine } = this.#context;
    if (!group.leading) return this.notLeader(id);
    if (machine.role === "primary" && this.#mayServe()) return undefined;
    return this.#notPrimary(id);
  }

  notLeader(id: number): Response {
    const answer = response(id, Status.NOT_LEADER, undefined);
    answer.leader = leaderAddress(this.#context);
    return answer;
  }

  #notPrimary(id: number): Response {
    const { machine } = this.#context;
    const answer = response(id, Status.NOT_PRIMARY, machine.version);
    answer.primary = machine.role === "mirror" ? machine.primary : "";
    return answer;
  }

  #propose(stream: SessionStream, id: number, mutate: Mutate, done: () => void): void {
    const { request, lowWater, command } = mutate;
    const from = { session: stream.session as SessionId, request, lowWater };
    this.#context.proposer.propose(command, from, (result) => {
      stream.respond(this.#answer(id, result));
      done();
    });
  }

  #answer(id: number, result: Proposed): Response {
    if (!result.ok) {
      if (result.reason === "not-leader") return this.notLeader(id);
      return response(id, result.reason === "busy" ? Status.BUSY : Status.UNKNOWN, undefined);
    }
    const applied = result.outcome as Applied;
    if (!applied.taken) return this.#notPrimary(id);
    const { outcome, encoded, version } = applied;
    if (!outcome.ok && outcome.error === "NOSESSION") return response(id, Status.NO_SESSION, version);
    const answer = outcome.ok ? response(id, Status.OK, version) : failed(id, outcome.error as "EIO", version);
    answer.outcome = asBuffer(encoded);
    return answer;
  }
}

function decode(bytes: Uint8Array): Command | undefined {
  try {
    return decodeCommand(bytes);
  } catch {
    return undefined;
  }
}

function isAllowed(command: Command, session: number): boolean {
  if (command.kind === "openSession" || command.kind === "closeSession") return command.session === session;
  return COMMANDS[command.kind].fromClient;
}
