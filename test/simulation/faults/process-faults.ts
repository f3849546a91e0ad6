import type { Region, SimulatedServer } from "../cluster.ts";
import type { FaultContext } from "./context.ts";

/** Crashes, power failures, broken disks and graceful stops of metadata servers. */
export class ProcessFaults {
  readonly #context: FaultContext;
  crashes = 0;
  /** Called for each server that stopped because of its disk. */
  onBroken: (fault: "fullDisk" | "readError") => void = () => {};

  constructor(context: FaultContext) {
    this.#context = context;
  }

  /** Lets this server crash at any of its crash points, with the profile's probability. */
  enableCrashPoints(server: SimulatedServer): void {
    const { prng, profile } = this.#context;
    server.host.onCrashPoint = () => {
      if (!this.#context.isActive || !prng.chance(profile.crashPointProbability)) return;
      if (prng.chance(0.15)) this.powerFailure(server.region);
      else this.crash(server);
    };
  }

  /** Kills the process, sometimes with its machine's power, and restarts it later. */
  crash(server: SimulatedServer): boolean {
    return this.#crash(server, this.#context.prng.chance(0.3));
  }

  /** @returns whether it was up */
  #crash(server: SimulatedServer, power: boolean): boolean {
    if (!server.isUp) return false;
    this.crashes++;
    server.crash(power);
    this.#restartLater(server);
    return true;
  }

  /**
   * A machine and its disk are lost, and it comes back with an empty one. A group bears the loss of a minority of its
   * voters, so no other disk is lost before those that were emptied have caught up.
   */
  destroyDisk({ region }: SimulatedServer): boolean {
    const { cluster, observers, prng } = this.#context;
    const members = cluster.of(region).filter((server) => observers.isMember(server));
    const lost = members.filter((server) => observers.isNewcomer(server)).length;
    const minority = Math.floor((members.length - 1) / 2) - lost;
    if (minority < 1) return false;
    const left = members.filter((server) => !observers.isNewcomer(server));
    for (let count = 1 + prng.below(minority); count > 0; count--) {
      const [server] = left.splice(prng.below(left.length), 1);
      this.#context.log(`${server!.host.name} loses its disk`);
      const wasUp = this.#crash(server!, true);
      server!.replaceDisk();
      observers.diskReplaced(server!);
      if (!wasUp) this.#restartLater(server!);
    }
    return true;
  }

  /** Kills the process and starts it again at once. */
  bounce(server: SimulatedServer): void {
    this.crashes++;
    server.crash(this.#context.prng.chance(0.3));
    server.start();
  }

  powerFailure(region: Region): boolean {
    let isHit = false;
    for (const server of this.#context.cluster.of(region)) if (this.#crash(server, true)) isHit = true;
    return isHit;
  }

  /** The server stops at its next use of the disk, and restarts after an operator has repaired it. */
  breakDisk(server: SimulatedServer, fault: "full" | "read-error"): void {
    const { prng } = this.#context;
    this.#context.log(`${server.host.name}: ${fault}`);
    server.disk.fault = fault;
    this.#context.later(prng.between(200, 3_000), () => {
      if (server.isBroken) this.onBroken(fault === "full" ? "fullDisk" : "readError");
      else this.#crash(server, false); // it had not used its disk yet: the repair restarts it all the same
      server.disk.fault = "none";
      this.#restartLater(server);
    });
  }

  gracefulStop(server: SimulatedServer): boolean {
    const { world, prng } = this.#context;
    const { process } = server.host;
    if (process === undefined) return false;
    world.turn(process, () => void server.stop());
    this.#context.later(prng.between(2_500, 4_000), () => {
      if (server.host.process === process) server.crash(false);
      this.#restartLater(server);
    });
    return true;
  }

  #restartLater(server: SimulatedServer): void {
    const { prng, profile } = this.#context;
    this.#context.later(prng.pick(profile.restartDelaysMs) * prng.between(0.7, 1.3), () => {
      if (!server.isUp && !server.isRetired) server.start();
    });
  }
}
