import { UserError } from "../base/user-error.ts";
import type { RegionDescription, VolumeDescription } from "../config/volume-description.ts";
import type { ConfirmAnswer, MemberVersion, PromoteAnswer } from "../proto/generated/admin.ts";
import { askAll, callLeader, confirmRegion } from "./client.ts";

const PROMOTE_MS_MAX = 30_000;
const END_MS_MAX = 10_000;

export interface Overrides {
  readonly evenIfAlive: boolean;
  readonly discard: readonly string[];
}

/**
 * Promotes a region by force. It decides by what all regions answer, and this machine may reach more of them than that region
 * does: their answers go with the request, and those that it must end first, and cannot reach, are ended from here.
 * @throws UserError when no leader carried it out, or a region could not be ended.
 */
export async function promoteByForce(
  volume: VolumeDescription,
  region: RegionDescription,
  { evenIfAlive, discard }: Overrides,
): Promise<PromoteAnswer> {
  const call = async () => {
    const request = { volume: volume.volume, force: true, evenIfAlive, discard: [...discard], ...(await look(volume)) };
    return { request, answer: await callLeader(volume, region, "promote", request, PROMOTE_MS_MAX) };
  };
  const { request, answer } = await call();
  if (answer.toEnd.length === 0) return answer;
  for (const name of answer.toEnd) {
    const uuid = request.confirmed.find((one) => one.region === name)?.uuid ?? "";
    const end = { volume: volume.volume, uuid, region: region.name, epoch: answer.epoch };
    const ended = await callLeader(volume, volume.regions.get(name)!, "end", end, END_MS_MAX);
    if (!ended.ok) throw new UserError(`${region.name} was not promoted: ${name} could not be ended: ${ended.message}`);
  }
  return (await call()).answer;
}

/** What the leader of each region has confirmed, and what each member has applied. */
async function look(volume: VolumeDescription): Promise<{ confirmed: ConfirmAnswer[]; applied: MemberVersion[] }> {
  const [answers, members] = await Promise.all([
    Promise.all([...volume.regions.values()].map((region) => confirmRegion(volume, region))),
    askAll(volume),
  ]);
  const statuses = [...members.values()].flat().map(({ status }) => status);
  return {
    confirmed: answers.filter((answer) => answer !== undefined),
    applied: statuses.flatMap((status) => (status === undefined ? [] : [memberVersion(status)])),
  };
}

function memberVersion({ region, member, version }: MemberVersion): MemberVersion {
  return { region, member, version };
}
