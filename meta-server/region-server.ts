import type { Server } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { AdminService as AdminDefinition } from "../proto/generated/admin.ts";
import { MetadataService as MetadataDefinition } from "../proto/generated/metadata.ts";
import type { VolumeDescription } from "../proto/volume-description.ts";
import { EpochKeeper } from "./epochs/epoch-keeper.ts";
import { Regions } from "./follower/regions.ts";
import type { Group } from "./group.ts";
import type { Machine } from "./machine/machine.ts";
import { AdminService } from "./services/admin/service.ts";
import { StatusReport } from "./services/admin/status.ts";
import type { ServerContext } from "./services/context.ts";
import { Clients } from "./services/metadata/clients.ts";
import { Reaper } from "./services/metadata/reaper.ts";
import { MetadataService } from "./services/metadata/service.ts";
import { Proposals } from "./services/proposals.ts";

export interface RegionServerTuning {
  /** A session whose client is silent for so long is ended. */
  readonly sessionTimeoutMs: number;
}

const DEFAULTS: RegionServerTuning = { sessionTimeoutMs: 300_000 };

export interface RegionServerOptions {
  readonly volume: VolumeDescription;
  readonly region: string;
  readonly member: number;
  readonly group: Group;
  readonly machine: Machine;
  readonly logger: Logger;
}

/** Puts one member's services together and on the server; whoever leads does more than answer. */
export function startRegionServer(
  server: Server,
  options: RegionServerOptions,
  tuning: Partial<RegionServerTuning>,
): { close(): void } {
  const { sessionTimeoutMs } = { ...DEFAULTS, ...tuning };
  const { group, machine, logger } = options;
  const context: ServerContext = { ...options, proposals: new Proposals(group, machine) };
  const regions = new Regions(context);
  const keeper = new EpochKeeper(context, regions);
  const clients = new Clients(context, sessionTimeoutMs);
  const reaper = new Reaper(context, (inode) => clients.isOpen(inode));
  const metadata = new MetadataService(context, {
    clients,
    mayServe: () => keeper.mayServe,
    askPrimary: (done) => done(undefined),
    onSeen: (version) => keeper.heard(version.epoch),
    onWanted: () => {},
  });
  const status = new StatusReport(context, { keeper });
  const admin = new AdminService(context, { status });
  server.addService(MetadataDefinition, metadata.handlers);
  server.addService(AdminDefinition, admin.handlers);

  let led = false;
  const lead = () => {
    if (group.leading === led) return;
    led = group.leading;
    if (!led) return metadata.endStreams();
    Promise.all([clients.startLeading(), reaper.findOrphans(), machine.sweep()]).catch((error) => {
      logger.error(error, "the state could not be read");
    });
  };
  const unsubscribe = group.onChange(lead);
  lead();
  return {
    close() {
      unsubscribe();
      keeper.close();
      regions.close();
      clients.close();
      reaper.close();
      metadata.close();
    },
  };
}
