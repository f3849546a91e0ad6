import { Metadata } from "@grpc/grpc-js";
import { type EpochCode, epochNumber } from "../../../core/ids.ts";
import type { AdminAnswer, AdminClient, EndRequest } from "../../../proto/generated/admin.ts";
import { leaderAddress, type ServerContext } from "../../region/context.ts";

const ANSWER_MS = 3_000;

/**
 * Ends this region's epoch for a later one that is about to begin elsewhere: commits the fence, after which the region
 * acknowledges nothing and begins no epoch from a seal. Refuses when it is in that epoch, or a later one.
 */
export async function endEpoch(context: ServerContext, { uuid, region, epoch }: EndRequest): Promise<AdminAnswer> {
  const { machine, proposer, logger } = context;
  const answer = (ok: boolean, message: string) => ({
    ok,
    message,
    version: machine.version,
    leader: leaderAddress(context),
  });
  if (uuid !== machine.tree.volume?.uuid) return answer(false, `the volume here has another uuid than ${uuid}`);
  if (machine.version.epoch >= epoch) {
    return answer(false, `epoch ${epochNumber(machine.version.epoch)} has begun, which is not before the promotion's`);
  }
  logger.warn({ epoch, region }, "a promotion ends this region's epoch");
  const isCommitted = await proposer.local({ kind: "fence", epoch: epoch as EpochCode });
  return isCommitted && machine.facts.fence >= epoch
    ? answer(true, "")
    : answer(false, "its fence was not committed (no majority of its servers answered)");
}

/** Asks the leader of another region to end its epoch. @returns why it is not known to have ended; never rejects */
export function askToEnd(admin: AdminClient, request: EndRequest): Promise<string | undefined> {
  return new Promise((resolve) => {
    admin.end(request, new Metadata(), { deadline: Date.now() + ANSWER_MS }, (error, answer) => {
      if (error !== null) resolve(error.details);
      else resolve(answer.ok ? undefined : answer.message);
    });
  });
}
