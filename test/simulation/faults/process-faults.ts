import type { Region, SimulatedServer } from "../cluster.ts";
import type { FaultContext } from "./context.ts";

/** Crashes, power failures, broken disks and graceful stops of metadata servers. */
export class ProcessFaults {
  readonly #context: FaultContext;
  crashes = 0;
  /** Servers that stopped because of their disk. */
  brokenDisks = 0;

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
  crash(server: SimulatedServer): void {
    this.#crash(server, this.#context.prng.chance(0.3));
  }

  #crash(server: SimulatedServer, power: boolean): void {
    if (!server.isUp) return;
    this.crashes++;
    server.crash(power);
    this.#restartLater(server);
  }

  /** Kills the process and starts it again at once. */
  bounce(server: SimulatedServer): void {
    this.crashes++;
    server.crash(this.#context.prng.chance(0.3));
    server.start();
  }

  powerFailure(region: Region): void {
    for (const server of this.#context.cluster.of(region)) this.#crash(server, true);
  }

  /** The server stops at its next use of the disk, and restarts after an operator has repaired it. */
  breakDisk(server: SimulatedServer, fault: "full" | "read-error"): void {
    const { prng } = this.#context;
    this.#context.log(`${server.host.name}: ${fault}`);
    server.disk.fault = fault;
    this.#context.later(prng.between(200, 3_000), () => {
      if (server.isBroken) this.brokenDisks++;
      else this.#crash(server, false); // it had not used its disk yet: the repair restarts it all the same
      server.disk.fault = "none";
      this.#restartLater(server);
    });
  }

  gracefulStop(server: SimulatedServer): void {
    const { world, prng } = this.#context;
    const { process } = server.host;
    if (process === undefined) return;
    world.turn(process, () => void server.stop());
    this.#context.later(prng.between(2_500, 4_000), () => {
      if (server.host.process === process) server.crash(false);
      this.#restartLater(server);
    });
  }

  #restartLater(server: SimulatedServer): void {
    const { prng, profile } = this.#context;
    this.#context.later(prng.pick(profile.restartDelaysMs) * prng.between(0.7, 1.3), () => {
      if (!server.isUp && !server.isRetired) server.start();
    });
  }
}
