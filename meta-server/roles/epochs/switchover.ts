import { pause } from "../../../base/waiting.ts";
import { epochNumber, type RegionIndex } from "../../../core/ids.ts";
import type { RegionStatus } from "../../../proto/generated/admin.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Regions } from "../follower/regions.ts";
import type { EpochKeeper } from "./epoch-keeper.ts";

export interface SwitchoverOptions {
  readonly to: string;
  /** Wait first until all blocks are there too. */
  readonly complete: boolean;
  readonly timeoutMs: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
const STATUS_POLL_MS = 200;
/** A mirror that is further behind would keep the writers waiting for it. */
const BEHIND_MAX = 2_000;
/** What follows the seal: the other region's refusal, and the next epoch here. */
const SETTLE_MS = 20_000;

export interface Switched {
  readonly ok: boolean;
  readonly message: string;
}

/** Hands the primary's role over, without a loss: the seal is the epoch's last command, and the other begins by applying it. */
export async function switchover(
  context: ServerContext,
  sources: { regions: Regions; keeper: EpochKeeper },
  options: SwitchoverOptions,
): Promise<Switched> {
  const { machine, region, proposer } = context;
  const { to } = options;
  const timeoutMs = options.timeoutMs || DEFAULT_TIMEOUT_MS;
  if (machine.role !== "primary") return refuse(`${region} is not the primary (${machine.primary} is)`);
  if (to === region) return refuse(`${to} is the primary already`);
  const index = machine.tree.volume!.regions.indexOf(to);
  if (index === -1) return refuse(`the volume has no region ${to}`);
  const unready = await untilReady(context, sources.regions, options, Date.now() + timeoutMs);
  if (unready !== undefined) return refuse(unready);
  sources.keeper.sealPatienceMs = timeoutMs;
  const { epoch } = machine.version;
  const applied = await proposer.internal({ kind: "seal", to: index as RegionIndex });
  if (!applied?.taken) return refuse("the seal was not committed: ask again");
  return settled(context, epoch, to, Date.now() + timeoutMs + SETTLE_MS);
}

/** @returns why not */
async function untilReady(
  { machine }: ServerContext,
  regions: Regions,
  { to, complete }: SwitchoverOptions,
  deadlineMs: number,
): Promise<string | undefined> {
  for (;;) {
    const status = await regions.ask(to);
    const unready = unreadiness(status, machine.version, to, complete);
    if (unready === undefined || Date.now() >= deadlineMs || status === undefined) return unready;
    await pause(STATUS_POLL_MS);
  }
}

function unreadiness(
  status: RegionStatus | undefined,
  version: { epoch: number; sequence: number },
  to: string,
  complete: boolean,
): string | undefined {
  if (status === undefined) return `${to} is out of reach`;
  if (status.role !== "mirror" || status.leader === "")
    return `${to} is not a mirror that could take over (${status.role})`;
  const behind = version.sequence - (status.version?.sequence ?? 0);
  if (status.version?.epoch !== version.epoch || behind > BEHIND_MAX) return `${to} is ${behind} commands behind`;
  if (complete && status.pendingBlocks > 0) return `${to} lacks ${status.pendingBlocks} blocks yet`;
  return undefined;
}

async function settled(
  { machine, region }: ServerContext,
  epoch: number,
  to: string,
  deadlineMs: number,
): Promise<Switched> {
  while (Date.now() < deadlineMs) {
    if (machine.version.epoch > epoch) {
      const number = epochNumber(machine.version.epoch);
      if (machine.primary === to) return { ok: true, message: `${to} is the primary, in epoch ${number}` };
      return refuse(`${to} did not take over in time: ${region} goes on as the primary, in epoch ${number}`);
    }
    await pause(POLL_MS);
  }
  return refuse(`sealed to ${to}, which has neither begun nor declined: ${region} goes on asking it`);
}

function refuse(message: string): Switched {
  return { ok: false, message };
}
