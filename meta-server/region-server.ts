/** Wires the parts of one metadata server together, and starts and ends what only a leader, or only the primary, does. */
import type { Server } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { VolumeDescription } from "../config/volume-description.ts";
import type { Group } from "../consensus/group.ts";
import type { Inode } from "../core/ids.ts";
import { regionNames } from "../core/regions.ts";
import { tolerant } from "../proto/frames.ts";
import { AdminService as AdminDefinition } from "../proto/generated/admin.ts";
import { AgentService as AgentDefinition } from "../proto/generated/agent.ts";
import { ChangelogService as ChangelogDefinition } from "../proto/generated/changelog.ts";
import { MetadataService as MetadataDefinition } from "../proto/generated/metadata.ts";
import { Refusals } from "../proto/refusals.ts";
import type { Machine, Role, Turn } from "./machine/machine.ts";
import type { Lives, ServerContext } from "./region/context.ts";
import { Proposer } from "./region/proposer.ts";
import { EpochKeeper } from "./roles/epochs/epoch-keeper.ts";
import { Follower } from "./roles/follower/follower.ts";
import { Regions } from "./roles/follower/regions.ts";
import { ReplacedStates } from "./roles/follower/replaced-states.ts";
import { AdminService } from "./services/admin/service.ts";
import { StatusReport } from "./services/admin/status.ts";
import { AgentService } from "./services/agent/service.ts";
import { RegionProgress } from "./services/changelog/progress.ts";
import { RegionReports } from "./services/changelog/region-reports.ts";
import { ChangelogService } from "./services/changelog/service.ts";
import { Clients } from "./services/metadata/clients.ts";
import { Reaper } from "./services/metadata/reaper.ts";
import { MetadataService } from "./services/metadata/service.ts";

export interface RegionServerTuning {
  /** A session ends when nothing has been received from its client for this long. */
  readonly sessionTimeoutMs: number;
}

/** A client's largest frames take a few MiB: a hello that lists all its open files, or a command of 4 MiB among others. */
const CLIENT_FRAME_BYTES_MAX = 32 * 1024 * 1024;

const DEFAULTS: RegionServerTuning = { sessionTimeoutMs: 300_000 };

export interface RegionServerOptions {
  readonly volume: VolumeDescription;
  readonly region: string;
  readonly member: number;
  readonly group: Group;
  readonly machine: Machine;
  readonly lives: Lives;
  readonly logger: Logger;
  readonly supports: number;
}

/** Wires one member's parts together, registers its services and starts its timers. `close` ends all of it. */
export function startRegionServer(
  server: Server,
  options: RegionServerOptions,
  tuning: Partial<RegionServerTuning>,
): { close(): void } {
  const parts = wire(options, { ...DEFAULTS, ...tuning });
  serve(server, parts);
  const unwatch = watchLeadershipAndRole(options, parts);
  return {
    close() {
      unwatch();
      const { keeper, follower, regions, clients, reaper, replaced, progress, metadata, changelog, agents } = parts;
      for (const part of [keeper, follower, regions, clients, reaper, replaced, progress, metadata]) part.close();
      changelog.endStreams();
      agents.endStreams();
    },
  };
}

type Parts = ReturnType<typeof wire>;

/** Makes the parts in the order in which they depend on each other. */
function wire(options: RegionServerOptions, { sessionTimeoutMs }: RegionServerTuning) {
  const { group, machine, logger, region } = options;
  const isServing = () => group.leading && machine.role === "primary" && keeper.isCleared;
  const context: ServerContext = { ...options, proposer: new Proposer(group, machine), isServing };
  const regions = new Regions(context);
  const reports = new RegionReports();
  const clients = new Clients(context, sessionTimeoutMs);
  const isOpenElsewhere = (inode: Inode, since: number) =>
    regionNames(machine.tree.volume).some((other) => other !== region && reports.mayBeOpen(other, inode, since));
  const reaper = new Reaper(context, (inode, since) => clients.isOpen(inode) || isOpenElsewhere(inode, since));
  const replaced = new ReplacedStates(context);
  const openOrphans = () => {
    const { orphans } = reaper;
    return orphans && [...orphans].filter((inode) => clients.isOpen(inode));
  };
  const follower = new Follower(context, { regions, openOrphans });
  const keeper = new EpochKeeper(context, regions, follower);
  const agents = new AgentService(context);
  const refusals = new Refusals(logger, "metadata: refused a client");
  const metadata = new MetadataService(context, {
    clients,
    refusals,
    mayServe: () => keeper.isCleared,
    askPrimary: follower.askPrimary,
    onSeen: (version, uuid) => keeper.hint(version.epoch, uuid),
    onBlocksRequested: (slices) => agents.requestBlocks(slices),
  });
  const changelog = new ChangelogService(context, {
    reports,
    isServing,
    mayFeed: () => group.leading && keeper.isCleared,
    onSeen: (version, uuid) => keeper.hint(version.epoch, uuid),
  });
  const progress = new RegionProgress(context, reports);
  const status = new StatusReport(context, { keeper, follower, agents, refusedClients: refusals });
  const admin = new AdminService(context, { status, keeper, regions, follower });
  return {
    regions,
    reports,
    clients,
    reaper,
    replaced,
    follower,
    keeper,
    agents,
    metadata,
    changelog,
    progress,
    admin,
  };
}

function serve(server: Server, { metadata, changelog, agents, admin }: Parts): void {
  const session = tolerant(MetadataDefinition.session, CLIENT_FRAME_BYTES_MAX);
  server.addService({ ...MetadataDefinition, session }, metadata.handlers);
  server.addService(ChangelogDefinition, changelog.handlers);
  server.addService(AgentDefinition, agents.handlers);
  server.addService(AdminDefinition, admin.handlers);
}

/**
 * A leader reads from the state what it must know when it begins to lead, and when a snapshot has replaced the state. A member that loses leadership ends its streams, and one that loses the
 * primary's role refuses the requests that wait for locks. @returns the function that unsubscribes
 */
function watchLeadershipAndRole({ group, machine, logger }: RegionServerOptions, parts: Parts): () => void {
  const { reports, clients, reaper, replaced, metadata, changelog, agents } = parts;
  const startLeading = () => {
    Promise.all([clients.startLeading(), reaper.findOrphans(), replaced.clear()]).catch((error) => {
      logger.error(error, "a leader could not read the state");
    });
  };
  const onLeadership = (leading: boolean) => {
    reports.reset();
    if (leading) startLeading();
    else for (const service of [metadata, changelog, agents]) service.endStreams();
  };
  // A mirror's leader does not know the sessions and open files of other regions: a new primary restarts their timeouts.
  const onRole = (role: Role) => {
    if (role !== "primary") metadata.roleLost();
    else if (group.leading) {
      reports.reset();
      startLeading();
    }
  };
  const onFlip = ({ flipped }: Turn) => {
    if (flipped && group.leading) startLeading();
  };
  const unsubscribe = [
    group.onChange(whenChanged(() => group.leading, onLeadership)),
    machine.onTurn(whenChanged(() => machine.role, onRole)),
    machine.onTurn(onFlip),
  ];
  if (group.leading) startLeading();
  return () => {
    for (const stop of unsubscribe) stop();
  };
}

/** A listener that calls `then` when the value differs from the one it saw last; the first is read now. */
function whenChanged<T>(value: () => T, then: (now: T) => void): () => void {
  let last = value();
  return () => {
    const now = value();
    if (now === last) return;
    last = now;
    then(now);
  };
}
