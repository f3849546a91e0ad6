import type { EpochCode } from "../../../core/ids.ts";
import type { ConfirmAnswer, LossReportAnswer, MemberVersion } from "../../../proto/generated/admin.ts";
import { versionText } from "../../../proto/versions.ts";
import { confirmedState, type ServerContext } from "../../region/context.ts";
import type { Follower } from "../follower/follower.ts";
import type { Regions } from "../follower/regions.ts";
import { askToEnd } from "./end-epoch.ts";
import type { EpochKeeper } from "./epoch-keeper.ts";
import { LossReports } from "./loss-reports.ts";
import { type Candidate, epochOf, type Overrides, refusalOf, regionsToEnd } from "./promotion-rules.ts";

export type Promoted =
  | { readonly ok: true; readonly message: string; readonly report: LossReportAnswer | undefined }
  | { readonly ok: false; readonly message: string }
  /** The caller must end these regions for the epoch, and call again. */
  | { readonly ok: false; readonly message: string; readonly toEnd: string[]; readonly epoch: EpochCode };

export interface PromotionOptions extends Overrides {
  readonly force: boolean;
  /** What the caller was answered by regions, and by members, that this one may not reach. */
  readonly confirmed: readonly ConfirmAnswer[];
  readonly applied: readonly MemberVersion[];
}

interface Sources {
  readonly regions: Regions;
  readonly follower: Follower;
  readonly keeper: EpochKeeper;
}

/** Makes this region the primary although the old primary cannot hand over, and reports what that may have lost. */
export async function promote(context: ServerContext, sources: Sources, options: PromotionOptions): Promise<Promoted> {
  const unfit = unfitness(context, sources.follower);
  if (unfit !== undefined) return refuse(unfit);
  sources.follower.suspend();
  try {
    const candidate = await look(context, sources.regions, options);
    if (!options.force) return refuse(whyForce(candidate));
    const refusal = unfitness(context, sources.follower) ?? refusalOf(candidate, options);
    if (refusal !== undefined) return refuse(refusal);
    const epoch = epochOf(candidate);
    const toEnd: string[] = [];
    for (const region of regionsToEnd(candidate)) {
      const ended = await end(context, sources.regions, { region, epoch });
      if (ended === "unreachable") toEnd.push(region);
      else if (ended !== undefined) return refuse(`${region} could not be ended: ${ended}`);
    }
    if (toEnd.length > 0) return { ok: false, message: `${toEnd.join(", ")} must be ended first`, toEnd, epoch };
    return await begin(context, sources.keeper, { epoch, reachable: candidate.confirmed });
  } finally {
    sources.follower.resume();
  }
}

/** Why this region is promoted under no circumstances. */
function unfitness(context: ServerContext, follower: Follower): string | undefined {
  const { region } = context;
  const state = confirmedState(context);
  if (state === "unformatted") return `${region} cannot be promoted: it holds no volume yet`;
  if (state === "primary") return `${region} is the primary already`;
  if (state === "diverged")
    return `${region} cannot be promoted: its state differs from the primary's ('mirrorfs status' says what to do)`;
  if (follower.isBootstrapping)
    return `${region} cannot be promoted while it loads a snapshot of the primary: try again when 'mirrorfs status' shows no message`;
  return undefined;
}

/** Asks every region, and every member on its own: an acknowledged change may be at a member that no leader speaks for. */
async function look(
  { machine, region }: ServerContext,
  regions: Regions,
  { confirmed, applied }: PromotionOptions,
): Promise<Candidate> {
  const [answers, statuses] = await Promise.all([regions.confirmAll(), regions.askAllMembers()]);
  const fromCaller = confirmed.filter((answer) => answer.region !== region);
  return {
    region,
    regionIndex: machine.regionIndex!,
    primary: machine.primary,
    version: machine.version,
    fence: machine.facts.fence,
    heard: machine.facts.heard,
    confirmed: new Map([...fromCaller.map((answer) => [answer.region, answer] as const), ...answers.confirmed]),
    applied: [...statuses, ...applied.filter((member) => member.region !== region)],
    clearanceAskedMs: regions.clearanceAskedMs(machine.primary),
  };
}

function whyForce({ primary, region, confirmed }: Candidate): string {
  return confirmed.has(primary)
    ? `the primary ${primary} is alive: use 'mirrorfs switchover --to ${region}', which loses nothing`
    : `the primary ${primary} is out of reach: changes that it acknowledged and that were not mirrored would be lost; --force accepts that`;
}

/** @returns undefined once the region's epoch has ended, else why that is not known */
async function end(
  { machine, volume, region: own }: ServerContext,
  regions: Regions,
  { region, epoch }: { region: string; epoch: EpochCode },
): Promise<string | undefined> {
  const found = await regions.confirm(region);
  if (typeof found === "string") return "unreachable";
  const uuid = machine.tree.volume!.uuid;
  return askToEnd(regions.admin(found.address), { volume: volume.volume, uuid, region: own, epoch });
}

async function begin(
  context: ServerContext,
  keeper: EpochKeeper,
  { epoch, reachable }: { epoch: EpochCode; reachable: ReadonlyMap<string, unknown> },
): Promise<Promoted> {
  const { machine, region, proposer, logger } = context;
  const applied = await proposer.internal({ kind: "beginEpoch", epoch, how: "forced" });
  if (!applied?.taken)
    return refuse(`the new epoch was not committed (${applied?.refusal ?? "no majority answered"}): try again`);
  await keeper.clear();
  const fork = machine.tree.epoch(applied.version.epoch)!.previous;
  logger.warn({ version: applied.version, fork }, "promoted by force: this region is the primary");
  const report = await new LossReports(context).ensure(reachable);
  return { ok: true, message: `${region} is the primary from ${versionText(applied.version)} on`, report };
}

function refuse(message: string): Promoted {
  return { ok: false, message };
}
