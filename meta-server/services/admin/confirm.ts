import { status } from "@grpc/grpc-js";
import { chainOf } from "../../../core/chain.ts";
import { regionNames } from "../../../core/regions.ts";
import type { ConfirmAnswer, ConfirmRequest } from "../../../proto/generated/admin.ts";
import { NOT_THE_LEADER } from "../../../proto/refusals.ts";
import { confirmedState, type ServerContext } from "../../region/context.ts";
import { RefusedCall } from "../unary.ts";

/**
 * Answers another region: what this region's group has committed by now. A leader that was deposed without knowing it, or a
 * member that lags, would answer with a past state, so the group confirms the leader first (ReadIndex).
 * @throws RefusedCall UNAVAILABLE when this member is not a confirmed leader, FAILED_PRECONDITION for another volume
 */
export async function confirm(context: ServerContext, { uuid }: ConfirmRequest): Promise<ConfirmAnswer> {
  const { group, machine, region, member } = context;
  const isConfirmed = await new Promise<boolean>((resolve) => group.readIndex(resolve));
  if (!isConfirmed || !group.leading)
    throw new RefusedCall(status.UNAVAILABLE, `${region}/${member} ${NOT_THE_LEADER}`);
  const { volume, version, sealedTo } = machine.tree;
  if (uuid !== "" && volume !== undefined && volume.uuid !== uuid) {
    throw new RefusedCall(
      status.FAILED_PRECONDITION,
      `${region} holds another volume of the same name: its uuid is ${volume.uuid}, not ${uuid}`,
    );
  }
  return {
    uuid: volume?.uuid ?? "",
    region,
    version,
    chain: chainOf(machine.tree),
    state: confirmedState(context),
    sealedTo: sealedTo === undefined ? "" : (regionNames(volume)[sealedTo] ?? ""),
    fence: machine.facts.fence,
  };
}
