import { type Command, InvalidArgumentError } from "commander";
import { askMembers, callLeader } from "../../admin/client.ts";
import { type MemberSummary, memberSummaries, regionStatus } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import { pause } from "../../base/waiting.ts";
import {
  isAddress,
  membersOf,
  type RegionDescription,
  type VolumeDescription,
} from "../../config/volume-description.ts";
import type { ChangeMembersAnswer, ChangeMembersRequest } from "../../proto/generated/admin.ts";
import { integer, readVolume, regionOf, timeoutOption, withConfig, withJson } from "../options.ts";
import { bytesText, table } from "../text.ts";

const ANSWER_MS_MAX = 15_000;
const TIMEOUT_MS = 60_000;
const PROGRESS_MS = 1_000;

export function addMember(program: Command): void {
  const member = program
    .command("member")
    .description("list, add, promote and remove the metadata servers of a region");
  withJson(ofRegion(member.command("list")))
    .description("show the members of the region's group, its leader, and how far behind each member is")
    .action(async (options) => {
      const { volume, region } = named(options);
      const members = await list(volume, region);
      const text = options.json ? `${JSON.stringify({ region: region.name, members }, null, 2)}\n` : listText(members);
      process.stdout.write(text);
    });
  withJson(ofRegion(member.command("add")))
    .description(
      "add a server as a learner, which receives the log and has no vote yet; prints its number and what to do next",
    )
    .requiredOption("--address <host:port>", "address at which all servers, agents and clients reach it", address)
    .action(async (options) => {
      const { volume, region } = named(options);
      const { id } = await change(volume, region, { change: "add", address: options.address }, 0);
      process.stdout.write(
        options.json ? `${JSON.stringify({ id, address: options.address })}\n` : nextStep(region, id, options),
      );
    });
  ofRegion(member.command("promote"))
    .description("give a learner its vote, once it has caught up with the leader")
    .requiredOption("--id <n>", "number of the server", integer(1))
    .addOption(timeoutOption("fail if it has not caught up after this many seconds", TIMEOUT_MS))
    .action(async (options) => {
      const { volume, region } = named(options);
      await change(volume, region, { change: "promote", id: options.id }, options.timeout);
      process.stdout.write(`member ${options.id} of ${region.name} votes\n`);
    });
  ofRegion(member.command("remove"))
    .description("remove a server from the group for good; its number is not used again")
    .requiredOption("--id <n>", "number of the server", integer(1))
    .option("--force", "remove it even if the remaining servers that are reachable are no majority")
    .addOption(timeoutOption("fail if another change is still under way after this many seconds", TIMEOUT_MS))
    .action(async (options) => {
      const { volume, region } = named(options);
      const force = options.force ?? false;
      await change(volume, region, { change: "remove", id: options.id, force }, options.timeout);
      process.stdout.write(
        `member ${options.id} of ${region.name} is removed: stop it, and write "-" in its place in regions.${region.name}.meta\n`,
      );
    });
}

function ofRegion(command: Command): Command {
  return withConfig(command).requiredOption("--region <name>", "region of the servers");
}

function named(options: { config?: string; region: string }) {
  const volume = readVolume(options);
  return { volume, region: regionOf(volume, options.region) };
}

function address(text: string): string {
  if (isAddress(text)) return text;
  throw new InvalidArgumentError("It must be host:port.");
}

/** Makes one change. While the group cannot make it yet, prints why and retries, for at most `timeoutMs`. */
async function change(
  volume: VolumeDescription,
  region: RegionDescription,
  chosen: Partial<ChangeMembersRequest>,
  timeoutMs: number,
): Promise<ChangeMembersAnswer> {
  const request = { volume: volume.volume, change: "", id: 0, address: "", force: false, ...chosen };
  const endAt = Date.now() + timeoutMs;
  let printed = "";
  for (;;) {
    const answer = await callLeader(volume, region, "changeMembers", request, ANSWER_MS_MAX);
    if (answer.ok) return answer;
    if (!answer.again || Date.now() >= endAt) throw new UserError(`${region.name}: ${answer.message}`);
    const line = `${answer.message}${await snapshotText(volume, region, request.id)}`;
    if (line !== printed) process.stderr.write(`mirrorfs: ${line}\n`);
    printed = line;
    await pause(PROGRESS_MS);
  }
}

async function snapshotText(volume: VolumeDescription, region: RegionDescription, id: number): Promise<string> {
  const member = (await list(volume, region)).find((one) => one.id === id);
  return member?.snapshotBytes ? `, ${bytesText(member.snapshotBytes)} of a snapshot sent` : "";
}

async function list(volume: VolumeDescription, region: RegionDescription): Promise<readonly MemberSummary[]> {
  const answers = await askMembers(volume, region);
  return memberSummaries(answers, regionStatus(answers));
}

function listText(members: readonly MemberSummary[]): string {
  const rows = members.map((one) => [
    String(one.id),
    one.address,
    one.leader ? "leader" : one.membership,
    one.reachable ? "yes" : "no",
    one.behind === null ? "?" : String(one.behind),
    one.snapshotBytes === null ? "" : bytesText(one.snapshotBytes),
  ]);
  return table(["id", "address", "role", "reachable", "behind", "snapshot"], rows);
}

function nextStep(region: RegionDescription, id: number, options: { address: string; config?: string }): string {
  const holes = id - 1 - region.meta.length;
  const fill = holes > 0 ? ` (after ${holes} more "-")` : "";
  const known = membersOf(region).some((one) => one.id === id && one.address === options.address);
  const append = known
    ? ""
    : `append "${options.address}" to regions.${region.name}.meta${fill} in every copy of the volume file, then `;
  return `member ${id} of ${region.name} is a learner: ${append}start it with 'mirrorfs meta --config FILE --region ${region.name} --id ${id} --data DIR --join', then 'mirrorfs member promote --region ${region.name} --id ${id}'\n`;
}
