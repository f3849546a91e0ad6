import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, mkdirSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LogStore } from "../../consensus/log-store.ts";
import { UNKNOWN_CONFIGURATION } from "../../consensus/raft/configuration.ts";
import { recover } from "../../consensus/runtime/recover.ts";
import { DEFAULT_TUNING } from "../../consensus/runtime/tuning.ts";
import type { ByteString } from "../../core/ids.ts";
import { checkInvariants } from "../../core/invariants.ts";
import { Machine } from "../../meta-server/machine/machine.ts";
import { openDataDirectory } from "../../meta-server/storage/data-directory.ts";
import type { RegionStatus } from "../../proto/generated/admin.ts";
import { TestVolume } from "../meta-server/harness.ts";
import { until } from "../support/until.ts";
import { Disk, type Lost, type Tail } from "./disk.ts";
import type { ServerOptions } from "./server.ts";

const SERVER = fileURLToPath(import.meta.resolve("./server.ts"));
const REGION = "aws";
/** The log is truncated often and after few entries, so that a member that was down for a moment needs a snapshot. */
const TUNING = { tickMs: 50, cutEveryMs: 500, cutStep: 200, keepEntries: 200, keepForSlowEntries: 200 };

/** What the countdown counts; see power-cut.c. */
export const COUNTED = { write: 1, sync: 2, name: 4, any: 7 } as const;

/** A server loses power right before the `countdown`th counted operation on a path that contains `within`. */
interface CutAt {
  readonly countdown: number;
  readonly counted: number;
  readonly within?: string;
}

const NEVER: CutAt = { countdown: 0, counted: 0 };
const SWITCH_BYTES = 64;
/** How many possible disk images are checked after each power cut. */
const IMAGES = 4;
/** Generous: the machine may be busy with other work. */
const PATIENCE_MS = 90_000;

interface Power {
  readonly library: string;
  readonly random: () => number;
}

/**
 * A region of three metadata servers, each a child process. With `power` their disks record what has been made
 * durable, so that a power failure can be simulated.
 */
export class CrashCluster {
  readonly volume: TestVolume;
  readonly #processes = new Map<number, ChildProcess>();
  readonly #disks = new Map<number, Disk>();
  readonly #power: Power | undefined;
  readonly #violations: string[] = [];

  private constructor(volume: TestVolume, power: Power | undefined) {
    this.volume = volume;
    this.#power = power;
    for (const member of this.members) {
      mkdirSync(this.#directory(member));
      if (power === undefined) continue;
      this.#disks.set(member, new Disk(this.#directory(member)));
      this.#setSwitch(member, NEVER);
    }
  }

  static async create(power?: Power): Promise<CrashCluster> {
    return new CrashCluster(await TestVolume.create({ [REGION]: 3 }), power);
  }

  get members(): readonly number[] {
    return this.addresses.map((_, i) => i + 1);
  }

  get addresses(): readonly string[] {
    return this.volume.volume.regions.get(REGION)!.meta;
  }

  /** The member's disk. Its data directory is inside, so that the directory's own name can be lost too. */
  #directory(member: number): string {
    return join(this.volume.directory, `member-${member}`);
  }

  start(...members: readonly number[]): void {
    for (const member of members) {
      const options: ServerOptions = {
        meta: { [REGION]: this.addresses },
        region: REGION,
        member,
        dataDir: join(this.#directory(member), "data"),
        tuning: TUNING,
      };
      const power = this.#disks.get(member)?.environment(this.#power!.library, this.#switch(member));
      const child = spawn(process.execPath, [SERVER, JSON.stringify(options)], {
        stdio: "inherit",
        env: { ...process.env, ...power },
      });
      this.#processes.set(member, child);
      child.on("exit", (code, signal) => {
        this.#processes.delete(member);
        if (signal === "SIGKILL" || code === 0) return;
        process.stderr.write(`member ${member} exited by itself: ${code ?? signal}\n`);
        this.#violations.push(`member ${member} exited by itself: ${code ?? signal}`);
      });
    }
  }

  leader(): Promise<RegionStatus & { address: string }> {
    return this.volume.leader(REGION, (status) => status.role === "primary");
  }

  /** Kills the members' processes and waits until they have exited. */
  async kill(...members: readonly number[]): Promise<void> {
    for (const member of members) this.#processes.get(member)?.kill("SIGKILL");
    await this.#gone(members);
  }

  async #gone(members: readonly number[]): Promise<void> {
    await until("the processes to exit", () => members.every((it) => !this.#processes.has(it)), PATIENCE_MS);
  }

  #switch(member: number): string {
    return join(this.volume.directory, `switch-${member}`);
  }

  /** Writes in place: a running server has the file mapped. */
  #setSwitch(member: number, { countdown, counted, within = "" }: CutAt): void {
    const file = openSync(this.#switch(member), constants.O_RDWR | constants.O_CREAT);
    const state = Buffer.alloc(SWITCH_BYTES);
    state.write(within, 12);
    state.writeInt32LE(counted, 4);
    state.writeInt32LE(countdown, 0);
    writeSync(file, state, 0, SWITCH_BYTES, 0);
    closeSync(file);
  }

  arm(members: readonly number[], at: CutAt): void {
    for (const member of members) this.#setSwitch(member, at);
  }

  #isCut(member: number): boolean {
    const file = openSync(this.#switch(member), "r");
    const state = Buffer.alloc(SWITCH_BYTES);
    readSync(file, state, 0, SWITCH_BYTES, 0);
    closeSync(file);
    return state.readInt32LE(8) === 1;
  }

  /** Waits until the first member loses power, kills the others too, and reduces each disk to what was durable. */
  async cut(members: readonly number[], tail: Tail, onCut: () => void = () => {}): Promise<Lost> {
    await until("a member to lose power", () => members.some((it) => this.#isCut(it)), PATIENCE_MS);
    onCut();
    await this.kill(...members);
    await Promise.all(members.map((member) => this.#tryImages(member, tail)));
    const lost = members.map((member) => this.#disks.get(member)!.cut(tail, this.#power!.random));
    this.arm(members, NEVER);
    return {
      bytes: sum(lost.map((it) => it.bytes)),
      names: sum(lost.map((it) => it.names)),
    };
  }

  /**
   * Checks that a server could recover from several of the images that the power failure may leave, not only from the
   * one used.
   */
  async #tryImages(member: number, tail: Tail): Promise<void> {
    const image = join(this.volume.directory, `image-${member}`);
    for (let i = 0; i < IMAGES; i += 1) {
      this.#disks.get(member)!.image(image, tail, this.#power!.random);
      try {
        await withMachine(join(image, "data"), member, (machine, log) =>
          recover(log, machine, UNKNOWN_CONFIGURATION, DEFAULT_TUNING),
        );
      } catch (error) {
        this.#violations.push(`member ${member}, an image after a cut: ${(error as Error).message}`);
      }
      rmSync(image, { recursive: true });
    }
  }

  /** Waits until every member has applied what the leader has applied now. */
  async level(): Promise<void> {
    const { version } = await this.leader();
    const isLevel = async () => {
      const all = await Promise.all(this.addresses.map((address) => this.volume.status(address)));
      return all.every((it) => (it.version?.sequence ?? 0) >= version!.sequence);
    };
    await until("all members to catch up", isLevel, PATIENCE_MS);
  }

  /** Waits until all members have the same state. @returns its hash. */
  async stateHash(): Promise<string> {
    const common = async () => {
      const all = await Promise.all(this.addresses.map((address) => this.volume.status(address)));
      const states = new Set(all.map((it) => `${it.version?.sequence} ${it.stateHash}`));
      return states.size === 1 ? all[0]!.stateHash : undefined;
    };
    return await until("one state on all members", common, PATIENCE_MS);
  }

  /** Stops the servers and checks the invariants of the states on their disks. @returns the violations. */
  async checkDisks(): Promise<string[]> {
    for (const child of this.#processes.values()) child.kill("SIGTERM");
    await this.#gone(this.members);
    const violations = await Promise.all(this.members.map((member) => this.#checkDisk(member)));
    return [...this.#violations, ...violations.flat()];
  }

  async #checkDisk(member: number): Promise<string[]> {
    return await withMachine(join(this.#directory(member), "data"), member, async (machine) => {
      const snapshot = await machine.volumeSnapshot();
      const pairs: [ByteString, Uint8Array][] = [];
      for await (const page of snapshot.pages) for (const [key, value] of page) pairs.push([key as ByteString, value]);
      await snapshot.release();
      return checkInvariants(pairs).map((violation) => `member ${member}: ${violation}`);
    });
  }

  async close(): Promise<void> {
    await this.kill(...this.members);
    await this.volume.close();
  }
}

/** Opens a member's data directory without its server. */
async function withMachine<T>(
  dataDir: string,
  member: number,
  use: (machine: Machine, log: LogStore) => Promise<T>,
): Promise<T> {
  const { log, state } = await openDataDirectory(dataDir, { volume: "test", region: REGION, member });
  const onError = (error: Error) => {
    throw error;
  };
  const machine = await Machine.open(state, { region: REGION, retain: { hours: 1, gib: 1 }, onError });
  try {
    return await use(machine, log);
  } finally {
    await log.close();
    await machine.close();
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
