import { compareVersions, type EpochCode, epochCode, epochNumber } from "../../../core/ids.ts";
import { forcedNumberAbove } from "../../../core/sequencer.ts";
import type { LossReportAnswer, RegionStatus } from "../../../proto/generated/admin.ts";
import { asVersion, versionText } from "../../../proto/versions.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Follower } from "../follower/follower.ts";
import type { Regions } from "../follower/regions.ts";
import type { EpochKeeper } from "./epoch-keeper.ts";
import { LossReports } from "./loss-reports.ts";

export type Promoted =
  | { readonly ok: true; readonly message: string; readonly report: LossReportAnswer | undefined }
  | { readonly ok: false; readonly message: string };

export interface PromotionOptions {
  readonly force: boolean;
  /** With `force`: also while the primary's leader answers. */
  readonly evenIfAlive: boolean;
}

/** Makes this mirror the primary although the old primary cannot hand over, and reports what that may have lost. */
export async function promote(
  context: ServerContext,
  sources: { regions: Regions; follower: Follower; keeper: EpochKeeper },
  options: PromotionOptions,
): Promise<Promoted> {
  const { machine, region } = context;
  const { regions, follower } = sources;
  if (machine.role === "unformatted") return refuse(`${region} cannot be promoted: it holds no volume yet`);
  if (machine.role === "primary") return refuse(`${region} is the primary already`);
  if (machine.facts.diverged !== undefined) {
    return refuse(
      `${region} cannot be promoted: its state differs from the primary's ('mirrorfs status' says what to do)`,
    );
  }
  const answers = await regions.askAll();
  const refusal = refusalOf(context, answers, options);
  if (refusal !== undefined) return refuse(refusal);
  follower.suspend();
  try {
    const applied = await context.proposer.internal({
      kind: "beginEpoch",
      epoch: epochCode(forcedNumberAbove(highestNumber(context, answers)), machine.regionIndex!),
      how: "forced",
    });
    if (!applied?.taken)
      return refuse(`the new epoch was not committed (${applied?.refusal ?? "no majority answered"}): try again`);
    await sources.keeper.clear();
    const fork = machine.tree.epoch(applied.version.epoch)!.previous;
    context.logger.warn({ version: applied.version, fork }, "promoted by force: this region is the primary");
    const report = await new LossReports(context).ensure(answers);
    return { ok: true, message: `${region} is the primary from ${versionText(applied.version)} on`, report };
  } finally {
    follower.resume();
  }
}

function refusalOf(
  context: ServerContext,
  answers: Map<string, RegionStatus>,
  { force, evenIfAlive }: PromotionOptions,
): string | undefined {
  const { machine } = context;
  const { primary, version } = machine;
  if (!force) {
    return answers.has(primary)
      ? `the primary ${primary} is alive: use 'mirrorfs switchover --to ${context.region}', which loses nothing`
      : `the primary ${primary} is out of reach: changes that it acknowledged and that were not mirrored would be lost; --force accepts that`;
  }
  const there = answers.get(primary);
  if (!evenIfAlive && there?.isLeader && there.role === "primary") {
    return `the primary ${primary} is alive: use 'mirrorfs switchover --to ${context.region}', which loses nothing; --even-if-alive promotes all the same, and loses what is not mirrored`;
  }
  for (const [region, status] of answers) {
    if (region === primary || status.version === undefined) continue;
    const theirs = asVersion(status.version);
    if (compareVersions(theirs, version) > 0) {
      return `${region} has applied more (${versionText(theirs)}, here ${versionText(version)}): use 'mirrorfs promote --region ${region} --force'`;
    }
  }
  return undefined;
}

function highestNumber({ machine }: ServerContext, answers: Map<string, RegionStatus>): number {
  const { version, facts } = machine;
  const epochs = [...answers.values()].map((status) => asVersion(status.version).epoch);
  return epochNumber(Math.max(version.epoch, facts.fence, facts.heard.epoch, ...epochs) as EpochCode);
}

function refuse(message: string): Promoted {
  return { ok: false, message };
}
