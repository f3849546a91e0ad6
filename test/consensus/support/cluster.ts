import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server } from "@grpc/grpc-js";
import { pino } from "pino";
import type { Group, GroupMember, Proposed } from "../../../consensus/group.ts";
import type { LogStore } from "../../../consensus/log-store.ts";
import { openGroup } from "../../../consensus/raft-group.ts";
import type { GroupTuning } from "../../../consensus/runtime/tuning.ts";
import { GrpcTransport, type GrpcTransportOptions } from "../../../consensus/transport/grpc-transport.ts";
import { openDataDirectory } from "../../../meta-server/storage/data-directory.ts";
import { serverCredentials } from "../../../proto/credentials.ts";
import { Refusals } from "../../../proto/refusals.ts";
import { WanProxy } from "../../../sandbox/wan-proxy.ts";
import { until } from "../../support/until.ts";
import { ListMachine } from "./list-machine.ts";

const logger = pino({ level: process.env.TEST_LOG ?? "silent" });

export interface Running {
  readonly group: Group;
  readonly machine: ListMachine;
  readonly transport: GrpcTransport;
  readonly fatal: Error[];
  stop(): Promise<void>;
}

interface StartOptions {
  readonly join?: boolean;
  /** To make its disk fail. */
  readonly wrapLog?: (log: LogStore) => LogStore;
}

/** A group over loopback gRPC and real disks, in this process. */
export class Cluster {
  readonly running = new Map<number, Running>();
  /** By member: the proxy through which the others reach it. */
  readonly proxies = new Map<number, WanProxy>();
  readonly #directory: string;
  readonly #tuning: Partial<GroupTuning>;
  #members: GroupMember[] = [];
  readonly #listening = new Map<number, string>();
  #servers = new Map<number, Server>();

  private constructor(directory: string, tuning: Partial<GroupTuning>) {
    this.#directory = directory;
    this.#tuning = tuning;
  }

  static async start(
    size: number,
    tuning: Partial<GroupTuning> = {},
    wrapLog: (log: LogStore, id: number) => LogStore = (log) => log,
  ): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), "mirrorfs-raft-")), tuning);
    for (let id = 1; id <= size; id++) await cluster.allocate();
    await Promise.all(
      cluster.#members.map(({ id }) => cluster.startMember(id, {}, { wrapLog: (log) => wrapLog(log, id) })),
    );
    return cluster;
  }

  /** Reserves an id and an address for one more member, and adds them to the volume file. */
  async allocate(): Promise<GroupMember> {
    const id = this.#members.length + 1;
    const { server, port } = await listen("127.0.0.1:0");
    this.#servers.set(id, server);
    this.#listening.set(id, `127.0.0.1:${port}`);
    const { proxy, ports } = await WanProxy.start([{ target: { port } }], { delayMs: 0 });
    this.proxies.set(id, proxy);
    const member = { id, address: `127.0.0.1:${ports[0]}` };
    this.#members = [...this.#members, member];
    return member;
  }

  /** host:port at which a member is reached. */
  addressOf(id: number): string {
    return this.#members[id - 1]!.address;
  }

  dataDirectory(id: number): string {
    return join(this.#directory, String(id));
  }

  async startMember(
    id: number,
    identity: Partial<Pick<GrpcTransportOptions, "volume" | "region" | "cluster">> = {},
    { join = false, wrapLog = (log: LogStore) => log }: StartOptions = {},
  ): Promise<Running> {
    const server = this.#servers.get(id) ?? (await listen(this.#listening.get(id)!)).server;
    this.#servers.set(id, server);
    const { log, state } = await openDataDirectory(this.dataDirectory(id), { volume: "v", region: "r", member: id });
    const machine = new ListMachine(state);
    const members = this.#members;
    const refusals = new Refusals(logger);
    const transport = new GrpcTransport({
      volume: "v",
      region: "r",
      self: id,
      address: members[id - 1]!.address,
      logger,
      refusals,
      ...identity,
    });
    server.addService(transport.service, transport.handlers);
    const fatal: Error[] = [];
    const group = await openGroup({
      members,
      self: id,
      join,
      log: wrapLog(log),
      machine,
      transport,
      refusals,
      logger: logger.child({ member: id }),
      onFatal: (error) => fatal.push(error),
      tuning: this.#tuning,
    });
    const stop = async () => {
      this.running.delete(id);
      await group.stop();
      server.forceShutdown();
      this.#servers.delete(id);
    };
    const running = { group, machine, transport, fatal, stop };
    this.running.set(id, running);
    return running;
  }

  async leader(): Promise<Running & { id: number }> {
    return await until("a leader", () => {
      for (const [id, running] of this.running) if (running.group.leading) return { id, ...running };
      return undefined;
    });
  }

  async stop(): Promise<void> {
    for (const proxy of this.proxies.values()) proxy.heal();
    await Promise.all([...this.running.values()].map((running) => running.stop()));
    for (const server of this.#servers.values()) server.forceShutdown();
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.stop()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export function propose(group: Group, text: string): Promise<Proposed> {
  return new Promise((resolve) => group.propose(Buffer.from(text), resolve));
}

async function listen(address: string): Promise<{ server: Server; port: number }> {
  const server = new Server({ "grpc.max_receive_message_length": 64 << 20 }); // as a metadata server's
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(address, serverCredentials(), (error, bound) => (error === null ? resolve(bound) : reject(error))),
  );
  return { server, port };
}
