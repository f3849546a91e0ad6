import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { channelCredentials } from "../../proto/credentials.ts";
import { AdminClient, type RegionStatus } from "../../proto/generated/admin.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { choosePort } from "../../sandbox/ports.ts";
import { RawClient } from "../meta-server/raw-client.ts";

const PROGRAM = fileURLToPath(import.meta.resolve("../../bin/mirrorfs"));
const SAMPLE_MS = 250;
const POLL_MS = 10;
const START_MS_MAX = 120_000;
const REGIONS = ["aws", "gcp"] as const;
const MIB = 2 ** 20;

type RegionName = (typeof REGIONS)[number];

/** A volume of two regions with one metadata server each, run by `bin/mirrorfs meta`. */
export class ScaleVolume {
  readonly #directory: string;
  readonly #addresses: Readonly<Record<RegionName, string>>;

  private constructor(directory: string, addresses: Readonly<Record<RegionName, string>>) {
    this.#directory = directory;
    this.#addresses = addresses;
    const regions = REGIONS.map(
      (name, i) =>
        `  ${name}: { meta: ["${addresses[name]}"], bucket: "file:///nowhere/${name}", queue: "redis://127.0.0.1:${i + 1}" }`,
    );
    const lines = ["volume: scale", "regions:", ...regions, "primary: aws", "startAloneWaitMs: 0", ""];
    writeFileSync(this.#file, lines.join("\n"));
  }

  static async in(directory: string): Promise<ScaleVolume> {
    const port = async () => `127.0.0.1:${await choosePort()}`;
    return new ScaleVolume(directory, { aws: await port(), gcp: await port() });
  }

  get #file(): string {
    return join(this.#directory, "volume.yaml");
  }

  /** Starts a region's server on a data directory; resolves once `serving` accepts its status. */
  async start(region: RegionName, dataDir: string, serving: (status: RegionStatus) => boolean): Promise<RunningServer> {
    const startedMs = performance.now();
    const args = ["meta", "--config", this.#file, "--region", region, "--id", "1", "--data", dataDir];
    const child = spawn(PROGRAM, [...args, "--log-level", "warn"], { stdio: ["ignore", "inherit", "inherit"] });
    const server = new RunningServer(child, this.#addresses[region]);
    while (performance.now() - startedMs < START_MS_MAX) {
      const status = await server.status().catch(() => undefined);
      if (status !== undefined && serving(status)) return server;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    await server.stop();
    throw new Error(`the server of ${region} did not become ready`);
  }
}

/** A server process, with its peak anonymous memory (without mapped files). */
export class RunningServer {
  readonly #child: ChildProcess;
  readonly #address: string;
  readonly #admin: AdminClient;
  readonly #timer: NodeJS.Timeout;
  #peakMib = 0;

  constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.#address = address;
    this.#admin = new AdminClient(address, channelCredentials(), {
      "grpc.initial_reconnect_backoff_ms": POLL_MS,
      "grpc.max_reconnect_backoff_ms": POLL_MS,
    });
    this.#timer = setInterval(() => this.anonymousMib(), SAMPLE_MS);
  }

  status(): Promise<RegionStatus> {
    return new Promise((resolve, reject) => {
      this.#admin.status({ volume: "scale" }, (error, status) => (error === null ? resolve(status) : reject(error)));
    });
  }

  async connect(): Promise<RawClient> {
    const client = new RawClient(this.#address, { volume: "scale" });
    for (;;) {
      const answer = await client.open();
      if (answer.status === Status.OK) return client;
      if (client.ended) throw new Error("the server ended the stream");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  anonymousMib(): number {
    const mib = this.#child.exitCode === null ? anonymousMib(this.#child.pid!) : 0;
    this.#peakMib = Math.max(this.#peakMib, mib);
    return mib;
  }

  /** The peak since the last call, in MiB. */
  takePeakMib(): number {
    const peak = Math.max(this.#peakMib, this.anonymousMib());
    this.#peakMib = 0;
    return peak;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#admin.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await gone;
  }
}

/** A process's RssAnon, in MiB. */
export function anonymousMib(pid: number): number {
  const [, kib] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return (Number(kib) * 1024) / MIB;
}
