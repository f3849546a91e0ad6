import { pause } from "../../../base/waiting.ts";
import { epochNumber } from "../../../core/ids.ts";
import { regionIndex } from "../../../core/regions.ts";
import type { ConfirmAnswer, RegionStatus } from "../../../proto/generated/admin.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Regions } from "../follower/regions.ts";
import type { EpochKeeper } from "./epoch-keeper.ts";

export interface SwitchoverOptions {
  readonly to: string;
  /** Whether to wait first until the target holds all blocks. */
  readonly complete: boolean;
  readonly timeoutMs: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
const STATUS_POLL_MS = 200;
/** In commands. With a mirror that is further behind, writers would have to wait too long. */
const BEHIND_MAX = 2_000;
/** For what may follow the seal: the target declines, and the next epoch begins here. */
const SETTLE_MS = 20_000;

export interface Switched {
  readonly ok: boolean;
  readonly message: string;
}

/**
 * Hands the primary's role over to a mirror without a loss: the seal is the last command of the epoch, and the mirror begins
 * the next epoch once it has applied the seal.
 */
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
  if (!sources.keeper.isCleared) return refuse(`${region} ${sources.keeper.message}`);
  const index = regionIndex(machine.tree.volume, to);
  if (index === undefined) return refuse(`the volume has no region ${to}`);
  const unready = await untilReady(context, sources.regions, options, Date.now() + timeoutMs);
  if (unready !== undefined) return refuse(unready);
  sources.keeper.sealPatienceMs = timeoutMs;
  const { epoch } = machine.version;
  const applied = await proposer.internal({ kind: "seal", to: index });
  if (!applied?.taken)
    return refuse("the switchover was not committed, perhaps because the leader changed: run it again");
  return settled(context, sources.keeper, { epoch, to, deadlineMs: Date.now() + timeoutMs + SETTLE_MS });
}

/** @returns why the target is not ready, or undefined if it is */
async function untilReady(
  { machine }: ServerContext,
  regions: Regions,
  { to, complete }: SwitchoverOptions,
  deadlineMs: number,
): Promise<string | undefined> {
  for (;;) {
    const [target, status] = await Promise.all([regions.confirm(to), regions.ask(to)]);
    if (typeof target === "string" || status === undefined) return unreachable(to, target);
    const unready = unreadiness(target.answer, status, machine.version, complete);
    if (unready === undefined || Date.now() >= deadlineMs) return unready;
    await pause(STATUS_POLL_MS);
  }
}

function unreachable(to: string, against: unknown): string {
  return typeof against === "string" && against !== ""
    ? `${to} cannot take over: ${against}`
    : `${to} is out of reach, or has no leader: start its metadata servers (mirrorfs meta)`;
}

/** The confirmed answer decides; the status has the reason, and the number of blocks. */
function unreadiness(
  { region: to, state, version: reached }: ConfirmAnswer,
  { message, pendingBlocks }: RegionStatus,
  version: { epoch: number; sequence: number },
  complete: boolean,
): string | undefined {
  if (state !== "mirror") {
    const why = message === "" ? "" : ` (${message})`;
    return `${to} cannot take over: its role is ${state}, not mirror${why}`;
  }
  const behind = version.sequence - (reached?.sequence ?? 0);
  if (reached?.epoch !== version.epoch || behind > BEHIND_MAX)
    return `${to} is ${behind} commands behind: run it again when 'mirrorfs status' shows that ${to} has caught up`;
  if (complete && pendingBlocks > 0)
    return `${to} still lacks ${pendingBlocks} blocks: 'mirrorfs wait / --region ${to}' waits for them`;
  return undefined;
}

/** Waits until the target has begun the next epoch, or this region has, and takes changes again. */
async function settled(
  { machine, region }: ServerContext,
  keeper: EpochKeeper,
  { epoch, to, deadlineMs }: { epoch: number; to: string; deadlineMs: number },
): Promise<Switched> {
  while (Date.now() < deadlineMs) {
    const isOwn = machine.primary === region;
    if (machine.version.epoch > epoch && (!isOwn || keeper.isCleared)) {
      const number = epochNumber(machine.version.epoch);
      if (machine.primary === to) return { ok: true, message: `${to} is the primary, in epoch ${number}` };
      return refuse(`${to} did not take over in time: ${region} remains the primary, in epoch ${number}`);
    }
    await pause(POLL_MS);
  }
  return refuse(
    `${to} has neither taken over nor declined yet: changes wait, and ${region} keeps asking it (mirrorfs status)`,
  );
}

function refuse(message: string): Switched {
  return { ok: false, message };
}
