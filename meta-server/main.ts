import { Server, type ServerOptions } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { UserError } from "../base/user-error.ts";
import { membersOf, type VolumeDescription } from "../config/volume-description.ts";
import { openGroup } from "../consensus/raft-group.ts";
import type { GroupTuning } from "../consensus/runtime/tuning.ts";
import { GrpcTransport } from "../consensus/transport/grpc-transport.ts";
import { serverCredentials } from "../proto/credentials.ts";
import { Refusals } from "../proto/refusals.ts";
import { Machine } from "./machine/machine.ts";
import { type RegionServerTuning, startRegionServer } from "./region-server.ts";
import { openDataDirectory } from "./storage/data-directory.ts";

export interface MetaServerOptions {
  readonly volume: VolumeDescription;
  readonly region: string;
  /** From 1, as the volume file lists them. */
  readonly member: number;
  readonly dataDir: string;
  readonly logger: Logger;
  /** host:port to bind instead of the member's own address. */
  readonly listen?: string;
  /** With an empty directory: the group is there already, and this member was added to it, or will be. */
  readonly join?: boolean;
  readonly tuning?: Partial<RegionServerTuning>;
  readonly groupTuning?: Partial<GroupTuning>;
  /** The disk or a truth failed, and the server has stopped. Absent: the process exits with 1. */
  readonly onFatal?: (error: Error) => void;
}

const SERVER_OPTIONS: ServerOptions = {
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
  "grpc.max_send_message_length": -1,
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_concurrent_streams": 10_000,
};

/**
 * Runs one metadata server of a region.
 * @throws UserError for an unknown region or member, a data directory of another, or an address that cannot be bound.
 */
export async function runMetaServer(options: MetaServerOptions): Promise<{ stop(): Promise<void> }> {
  const { volume, region, member, logger } = options;
  const { members, address } = placeOf(options);
  const server = new Server(SERVER_OPTIONS);
  const life = new Life(options, server);
  const { log, machine } = await openData(options, life);
  const cluster = () => machine.tree.volume?.uuid ?? "";
  const refusals = new Refusals(logger);
  const self = { volume: volume.volume, region, self: member, address };
  const transport = new GrpcTransport({ ...self, cluster, logger, refusals });
  life.transport = transport;
  server.addService(transport.service, transport.handlers);
  try {
    await bind(server, options.listen ?? address);
  } catch (error) {
    await log.close();
    await machine.close();
    throw error;
  }
  const group = await openGroup({
    members,
    self: member,
    join: options.join ?? false,
    log,
    machine,
    transport,
    logger,
    refusals,
    onFatal: (error) => life.fail(error),
    tuning: options.groupTuning ?? {},
    lease: volume.readLease && { ...volume.readLease, nowMs: () => performance.now() },
  });
  life.isStarted = true;
  const regionServer = startRegionServer(
    server,
    { volume, region, member, group, machine, logger },
    options.tuning ?? {},
  );
  logger.info({ region, member, address }, "metadata server runs");
  return {
    async stop() {
      if (!life.end()) return;
      await group.transferLeadership();
      regionServer.close();
      server.forceShutdown();
      await group.stop();
    },
  };
}

/** The members that the group begins with, and this one's address. */
function placeOf({ volume, region, member }: MetaServerOptions) {
  const description = volume.regions.get(region);
  if (description === undefined) throw new UserError(`volume ${volume.volume} has no region ${region}`, 2);
  const members = membersOf(description);
  const address = members.find(({ id }) => id === member)?.address;
  if (address !== undefined) return { members, address };
  const numbers = members.map(({ id }) => id).join(", ");
  throw new UserError(`region ${region} has members ${numbers}, not ${member}: correct --id`, 2);
}

/** A server ends once: it is stopped, or it fails. */
class Life {
  readonly #options: MetaServerOptions;
  readonly #server: Server;
  #ended = false;
  isStarted = false;
  transport: GrpcTransport | undefined;

  constructor(options: MetaServerOptions, server: Server) {
    this.#options = options;
    this.#server = server;
  }

  /** False when it has ended before. */
  end(): boolean {
    const isFirst = !this.#ended;
    this.#ended = true;
    return isFirst;
  }

  /** The disk or a truth failed: nothing more is acknowledged. */
  fail(error: Error): void {
    if (!this.end()) return;
    const { region, member, logger, onFatal } = this.#options;
    this.#server.forceShutdown();
    void this.transport?.stop(); // the others are told nothing more, and elect another
    logger.fatal(`metadata server ${region}/${member} stops: ${error.message}`);
    if (onFatal !== undefined) onFatal(error);
    else process.exit(1);
  }
}

/** The log, and the machine on the state that was stored. */
async function openData({ dataDir, volume, region, member }: MetaServerOptions, life: Life) {
  const identity = { volume: volume.volume, region, member };
  const onFailed = (error: Error) => {
    if (life.isStarted) life.fail(error); // before, whoever starts it is told by a throw
  };
  const { log, state } = await openDataDirectory(dataDir, identity, { onFailed });
  const retain = { hours: volume.changelog.retainHours, gib: volume.changelog.retainGib };
  const machine = await Machine.open(state, { region, retain, onError: (error) => life.fail(error) });
  return { log, machine };
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, serverCredentials(), (error, port) => {
      if (error === null) return resolve(port);
      reject(new UserError(`cannot listen on ${address}: ${bindReason(error)}`, 1, { cause: error }));
    });
  });
}

function bindReason(error: Error): string {
  if (error.message.includes("EADDRINUSE")) return "the port is in use: stop what uses it, or name another";
  if (error.message.includes("EACCES")) return "not allowed: use a port above 1023";
  return error.message;
}
