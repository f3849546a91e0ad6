import { status } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import type { ConfirmAnswer } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import { TestVolume } from "../harness.ts";

let volume: TestVolume;
afterEach(() => volume.close());

type Confirmed = { code: number; details: string } | ConfirmAnswer;

function confirm(address: string, uuid = ""): Promise<Confirmed> {
  return new Promise((resolve) => {
    const request = { volume: "test", uuid, region: "elsewhere", version: undefined, state: "", life: 1 };
    volume.admin(address).confirm(request, (error, answer) => resolve(error ?? answer));
  });
}

test("a leader confirms what its region has committed, with its chain of epochs; any other member refuses", async () => {
  volume = await TestVolume.create({ aws: 3 });
  await volume.start("aws");
  const { address, uuid, version } = await volume.leader("aws", ({ role }) => role === "primary");
  const answer = (await confirm(address, uuid)) as ConfirmAnswer;
  expect(answer).toMatchObject({ uuid, region: "aws", state: "primary", sealedTo: "", fence: 0 });
  expect(asVersion(answer.version).sequence).toBeGreaterThanOrEqual(version!.sequence);
  expect(answer.chain).toEqual([{ epoch: 16, first: 1, previous: { epoch: 0, sequence: 0 }, how: "format" }]);
  for (const other of volume.volume.regions.get("aws")!.meta.filter((one) => one !== address)) {
    expect(await confirm(other, uuid)).toMatchObject({ code: status.UNAVAILABLE });
  }
  expect(await confirm(address, "another")).toMatchObject({
    code: status.FAILED_PRECONDITION,
    details: `aws holds another volume of the same name: its uuid is ${uuid}, not another`,
  });
});

test("A region counts as asked only by the word of a leader that its group has just confirmed", async () => {
  volume = await TestVolume.create({ aws: 3 });
  await volume.start("aws");
  const { address, member } = await volume.leader("aws", ({ role }) => role === "primary");
  await Promise.all([1, 2, 3].filter((id) => id !== member).map((id) => volume.stop("aws", id)));
  const [asked, shown] = await Promise.all([confirm(address), volume.status(address)]);
  expect(shown).toMatchObject({ isLeader: true, role: "primary" });
  expect(asked).toMatchObject({ code: status.UNAVAILABLE });
});
