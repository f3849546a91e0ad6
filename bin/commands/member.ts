import { type Command, InvalidArgumentError } from "commander";
import { askMembers, callLeader } from "../../admin/client.ts";
import { type MemberSummary, memberSummaries, spokesman } from "../../admin/volume-status.ts";
import { UserError } from "../../base/user-error.ts";
import { pause } from "../../base/waiting.ts";
import {
  isAddress,
  membersOf,
  type RegionDescription,
  type VolumeDescription,
} from "../../config/volume-description.ts";
import type { ChangeMembersAnswer, ChangeMembersRequest } from "../../proto/generated/admin.ts";
import { integer, readVolume, regionOf, seconds, withConfig } from "../options.ts";
import { bytesText, table } from "../text.ts";

const ANSWER_MS_MAX = 15_000;
const TIMEOUT_MS = 60_000;
const PROGRESS_MS = 1_000;

export function addMember(program: Command): void {
  const member = program.command("member").description("the metadata servers of a region: list, add, promote, remove");
  ofRegion(member.command("list"))
    .description("who belongs to the region's group, who leads, and how far behind each is")
    .option("--json", "for machines")
    .action(async (options) => {
      const { volume, region } = named(options);
      const members = await list(volume, region);
      const text = options.json ? `${JSON.stringify({ region: region.name, members }, null, 2)}\n` : listText(members);
      process.stdout.write(text);
    });
  ofRegion(member.command("add"))
    .description("add one as a learner: it gets everything and has no vote yet; prints its number and what to do next")
    .requiredOption("--address <host:port>", "where the others, the clients and the other regions reach it", address)
    .option("--json", "for machines")
    .action(async (options) => {
      const { volume, region } = named(options);
      const { id } = await change(volume, region, { change: "add", address: options.address }, 0);
      process.stdout.write(
        options.json ? `${JSON.stringify({ id, address: options.address })}\n` : nextStep(region, id, options),
      );
    });
  ofRegion(member.command("promote"))
    .description("give a learner its vote, once it has caught up")
    .requiredOption("--id <n>", "its number", integer(1))
    .option("--timeout <s>", "give up when it has not caught up by then (exit 1)", seconds, TIMEOUT_MS)
    .action(async (options) => {
      const { volume, region } = named(options);
      await change(volume, region, { change: "promote", id: options.id }, options.timeout);
      process.stdout.write(`member ${options.id} of ${region.name} votes\n`);
    });
  ofRegion(member.command("remove"))
    .description("take one out of the group for good; its number is never given again")
    .requiredOption("--id <n>", "its number", integer(1))
    .option("--force", "even if those that are left and can be reached are no majority")
    .option("--timeout <s>", "while another change is under way, try for so long", seconds, TIMEOUT_MS)
    .action(async (options) => {
      const { volume, region } = named(options);
      const force = options.force ?? false;
      await change(volume, region, { change: "remove", id: options.id, force }, options.timeout);
      process.stdout.write(
        `member ${options.id} of ${region.name} is removed: stop it, and put "-" in its place in regions.${region.name}.meta\n`,
      );
    });
}

function ofRegion(command: Command): Command {
  return withConfig(command).requiredOption("--region <name>", "the region");
}

function named(options: { config?: string; region: string }) {
  const volume = readVolume(options);
  return { volume, region: regionOf(volume, options.region) };
}

function address(text: string): string {
  if (isAddress(text)) return text;
  throw new InvalidArgumentError("It must be host:port.");
}

/** Makes one change; where the group says "not now", tells why and asks again until `timeoutMs` are over. */
async function change(
  volume: VolumeDescription,
  region: RegionDescription,
  wanted: Partial<ChangeMembersRequest>,
  timeoutMs: number,
): Promise<ChangeMembersAnswer> {
  const request = { volume: volume.volume, change: "", id: 0, address: "", force: false, ...wanted };
  const endAt = Date.now() + timeoutMs;
  let said = "";
  for (;;) {
    const answer = await callLeader(volume, region, "changeMembers", request, ANSWER_MS_MAX);
    if (answer.ok) return answer;
    if (!answer.again || Date.now() >= endAt) throw new UserError(`${region.name}: ${answer.message}`);
    const line = `${answer.message}${await snapshotText(volume, region, request.id)}`;
    if (line !== said) process.stderr.write(`mirrorfs: ${line}\n`);
    said = line;
    await pause(PROGRESS_MS);
  }
}

async function snapshotText(volume: VolumeDescription, region: RegionDescription, id: number): Promise<string> {
  const member = (await list(volume, region)).find((one) => one.id === id);
  return member?.snapshotBytes ? `, a snapshot is on its way (${bytesText(member.snapshotBytes)})` : "";
}

async function list(volume: VolumeDescription, region: RegionDescription): Promise<readonly MemberSummary[]> {
  const answers = await askMembers(volume, region);
  return memberSummaries(answers, spokesman(answers));
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
  return table(["id", "address", "is", "reachable", "behind", "snapshot"], rows);
}

function nextStep(region: RegionDescription, id: number, options: { address: string; config?: string }): string {
  const holes = id - 1 - region.meta.length;
  const fill = holes > 0 ? ` (after ${holes} more "-")` : "";
  const known = membersOf(region).some((one) => one.id === id && one.address === options.address);
  const append = known
    ? ""
    : `append "${options.address}" to regions.${region.name}.meta${fill} in every copy of the volume file, then `;
  return `member ${id} of ${region.name} is a learner: ${append}start it with 'mirrorfs meta --config F --region ${region.name} --id ${id} --data DIR --join', then 'mirrorfs member promote --region ${region.name} --id ${id}'\n`;
}
