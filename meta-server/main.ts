/** The process of one metadata server: its data, its group and its services. */
import { Server, type ServerOptions } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { UserError } from "../base/user-error.ts";
import { membersOf, type VolumeDescription } from "../config/volume-description.ts";
import type { Group } from "../consensus/group.ts";
import { openGroup } from "../consensus/raft-group.ts";
import type { GroupOptions } from "../consensus/runtime/group-options.ts";
import type { GroupTuning } from "../consensus/runtime/tuning.ts";
import { GrpcTransport } from "../consensus/transport/grpc-transport.ts";
import { FEATURE_LEVEL } from "../core/features.ts";
import { serverCredentials } from "../proto/credentials.ts";
import { Refusals } from "../proto/refusals.ts";
import { Machine } from "./machine/machine.ts";
import { type RegionServerTuning, startRegionServer } from "./region-server.ts";
import { openDataDirectory } from "./storage/data-directory.ts";

export interface MetaServerOptions {
  readonly volume: VolumeDescription;
  readonly region: string;
  /** The member's number, from 1: its position in the region's `meta` list of the volume file. */
  readonly member: number;
  readonly dataDir: string;
  readonly logger: Logger;
  /** host:port to bind to, if not the member's own address in the volume file. */
  readonly listen?: string;
  /** The group exists already: an empty data directory waits until this member is added to it, instead of starting a group. */
  readonly join?: boolean;
  /** The highest feature level that the server knows, if not the program's. For tests of servers of several versions. */
  readonly supports?: number;
  readonly tuning?: Partial<RegionServerTuning>;
  readonly groupTuning?: Partial<GroupTuning>;
  /** Called after the server has stopped because its disk or an invariant failed. Without it the process exits with 1. */
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
 * @throws UserError for an unknown region or member, a data directory of another server or of a feature level that this
 *   server does not know, or an address that cannot be bound.
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
  const supports = options.supports ?? FEATURE_LEVEL;
  const required = () => machine.tree.features;
  const transport = new GrpcTransport({ ...self, cluster, supports, required, logger, refusals });
  life.transport = transport;
  server.addService(transport.service, transport.handlers);
  const groupOptions: GroupOptions = {
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
  };
  const group = await listen(server, options.listen ?? address, groupOptions);
  life.isStarted = true;
  const regionServer = startRegionServer(
    server,
    { volume, region, member, group, machine, lives: transport.lives, logger, supports },
    options.tuning ?? {},
  );
  logger.info({ region, member, address }, "metadata server started");
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

/** The members that the group starts with, by the volume file, and this member's address. */
function placeOf({ volume, region, member }: MetaServerOptions) {
  const description = volume.regions.get(region);
  if (description === undefined) throw new UserError(`volume ${volume.volume} has no region ${region}`, 2);
  const members = membersOf(description);
  const address = members.find(({ id }) => id === member)?.address;
  if (address !== undefined) return { members, address };
  const numbers = members.map(({ id }) => id).join(", ");
  throw new UserError(`region ${region} has members ${numbers}, not ${member}: correct --id`, 2);
}

/** Makes sure that a server ends once: either it is stopped, or it fails. */
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

  /** Returns false if the server had ended before. */
  end(): boolean {
    const isFirst = !this.#ended;
    this.#ended = true;
    return isFirst;
  }

  /** Ends the server because its disk or an invariant failed; from here on it acknowledges nothing. */
  fail(error: Error): void {
    if (!this.end()) return;
    const { region, member, logger, onFatal } = this.#options;
    this.#server.forceShutdown();
    void this.transport?.stop(); // heartbeats end, so that the other members elect a new leader
    logger.fatal(`metadata server ${region}/${member} stops: ${error.message}`);
    if (onFatal !== undefined) onFatal(error);
    else process.exit(1);
  }
}

/** Opens the data directory: the log, and the state machine on the stored state. */
async function openData({ dataDir, volume, region, member, supports }: MetaServerOptions, life: Life) {
  const identity = { volume: volume.volume, region, member };
  const onFailed = (error: Error) => {
    if (life.isStarted) life.fail(error); // before that, runMetaServer throws the error itself
  };
  const { log, state } = await openDataDirectory(dataDir, identity, { onFailed });
  const retain = { hours: volume.changelog.retainHours, gib: volume.changelog.retainGib };
  try {
    const onError = (error: Error) => life.fail(error);
    return { log, machine: await Machine.open(state, { region, retain, supports, onError }) };
  } catch (error) {
    await log.close();
    await state.close();
    throw error;
  }
}

/** Binds the server and opens the group. If either fails, the port is free again and the stores are closed. */
async function listen(server: Server, address: string, options: GroupOptions): Promise<Group> {
  try {
    await bind(server, address);
    return await openGroup(options);
  } catch (error) {
    server.forceShutdown();
    await options.transport.stop();
    await options.log.close();
    await options.machine.close();
    throw error;
  }
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
  if (error.message.includes("EADDRINUSE"))
    return "the port is in use: stop the process that uses it, or choose another port";
  if (error.message.includes("EACCES")) return "permission denied: use a port above 1023";
  return error.message;
}
