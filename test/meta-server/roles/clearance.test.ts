import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import type { VolumeDescription } from "../../../config/volume-description.ts";
import { type AdminAnswer, PromoteRequest } from "../../../proto/generated/admin.ts";
import { Status } from "../../../proto/generated/metadata.ts";
import { until } from "../../support/until.ts";
import { TestVolume } from "../harness.ts";
import { RawClient } from "../raw-client.ts";

/** Long enough for a leader to have known a cleared leader before it. */
const WAIT = { startAlone: "wait", startAloneWaitMs: 30_000 } as const;

let volume: TestVolume;
const clients: RawClient[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const client of clients.splice(0)) client.close();
  await volume.close();
});

/** All regions, formatted and followed; the first is the primary. */
async function start(regions: Record<string, number>, options: Partial<VolumeDescription>): Promise<void> {
  volume = await TestVolume.create(regions, options);
  const [primary, ...mirrors] = Object.keys(regions);
  await Promise.all(Object.keys(regions).map((region) => volume.start(region)));
  await volume.leader(primary!, ({ role }) => role === "primary");
  for (const mirror of mirrors) await volume.leader(mirror, ({ role }) => role === "mirror");
}

/** The status of a change at the region's present leader. */
async function change(region: string): Promise<Status> {
  const { address } = await volume.leader(region);
  const client = new RawClient(address);
  clients.push(client);
  return (await client.open()).status;
}

const isTaken = (region: string) => until(`a change at ${region}`, async () => (await change(region)) === Status.OK);
const waiting = (region: string, other: string) =>
  volume.leader(region, ({ message }) => message.includes(`waiting for ${other}`));

async function restart(region: string, member?: number): Promise<void> {
  await volume.stop(region, member);
  await volume.start(region, member);
}

test("a restart of one member after the other asks nobody, and changes go on although the other region is away", async () => {
  await start({ aws: 3, gcp: 1 }, WAIT);
  await isTaken("aws");
  await volume.stop("gcp");
  for (const member of [1, 2, 3]) {
    await restart("aws", member);
    await isTaken("aws");
    await new Promise((resolve) => setTimeout(resolve, 500)); // the leader has heard the member's new life
  }
});

test("a member that leads although it started anew hands over to one that may act, and changes go on without the other region", async () => {
  await start({ aws: 3, gcp: 1 }, WAIT);
  await isTaken("aws");
  await Promise.all([volume.stop("gcp"), volume.stop("aws", 3)]);
  await isTaken("aws");
  // Two of three members are up: while one of them restarts, no leader can take note of it, and either may lead afterwards.
  for (let i = 0; i < 6; i += 1) {
    const { member } = await volume.leader("aws");
    await restart("aws", member);
    await isTaken("aws");
    await new Promise((resolve) => setTimeout(resolve, 500)); // the leader has heard the member's new life
  }
});

test("A group that has restarted as a whole takes no change, begins no epoch and feeds no mirror before every region has answered, or startAlone=serve has run out", async () => {
  await start({ aws: 3, gcp: 1, azure: 1 }, WAIT);
  await isTaken("aws");
  await volume.stop("azure");
  await restart("aws");
  await waiting("aws", "azure");
  const mirror = await volume.leader("gcp", ({ message }) => message.includes("does not know whether its epoch"));
  expect(mirror.role).toBe("mirror");
  expect(await change("aws")).toBe(Status.NOT_PRIMARY);
  await volume.start("azure");
  await isTaken("aws");
  await volume.leader("gcp", ({ message }) => message === "");
});

test("a member that restarts while its group is cleared, and leads after all the others have restarted too, asks again", async () => {
  await start({ aws: 3, gcp: 1 }, WAIT);
  await isTaken("aws");
  await volume.stop("gcp");
  // The terms go on, and commands are committed in them, while member 3 is away.
  await volume.stop("aws", 3);
  await restart("aws", 1);
  await isTaken("aws");
  await Promise.all([volume.stop("aws", 1), volume.stop("aws", 2)]);
  await volume.start("aws");
  await waiting("aws", "gcp");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(await change("aws")).toBe(Status.NOT_PRIMARY);
  await volume.start("gcp");
  await isTaken("aws");
});

test("a region that was declared gone is not waited for, and counts again once it has answered", async () => {
  await start({ aws: 1, gcp: 1, azure: 1 }, WAIT);
  await isTaken("aws");
  await volume.stop("gcp");
  await restart("aws");
  const { address, message } = await waiting("aws", "gcp");
  expect(message).toContain("run 'mirrorfs region lost gcp'");
  const declare = (region: string) =>
    new Promise<AdminAnswer>((resolve, reject) => {
      const order = { volume: "test", region };
      volume.admin(address).declareLost(order, (error, given) => (error === null ? resolve(given) : reject(error)));
    });
  expect(await declare("aws")).toMatchObject({ ok: false });
  expect(await declare("hetzner")).toMatchObject({
    ok: false,
    message: "hetzner is not another region of the volume file",
  });
  expect(await declare("gcp")).toMatchObject({ ok: true });
  await isTaken("aws");
  await volume.stop("azure");
  await restart("aws");
  await waiting("aws", "azure"); // the excuse is kept, and is for gcp alone
  await Promise.all([volume.start("azure"), volume.start("gcp")]);
  await isTaken("aws");
  await volume.leader("gcp", ({ role, message: why }) => role === "mirror" && why === "");
  await new Promise((resolve) => setTimeout(resolve, 2_500)); // it is asked every two seconds
  await volume.stop("gcp");
  await restart("aws");
  await waiting("aws", "gcp");
});

test("a clock that ran ahead before a restart clears nobody after it", async () => {
  await start({ aws: 1, gcp: 1 }, WAIT);
  const { now } = Date;
  const ahead = vi.spyOn(Date, "now").mockImplementation(() => now() + 3_600_000);
  await isTaken("aws");
  ahead.mockRestore();
  await volume.stop("gcp");
  await restart("aws");
  await waiting("aws", "gcp");
  expect(await change("aws")).toBe(Status.NOT_PRIMARY);
});

test("an epoch that a switchover, its way back, or a promotion has begun needs no further answer", async () => {
  await start({ aws: 1, gcp: 1, azure: 1 }, WAIT);
  await isTaken("aws");
  await volume.stop("azure");
  const call = async (region: string, method: "switchover" | "promote", request: object): Promise<AdminAnswer> => {
    const { address } = await volume.leader(region);
    const admin = volume.admin(address) as unknown as Record<string, (...args: unknown[]) => void>;
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, answer: AdminAnswer) => (error === null ? resolve(answer) : reject(error));
      admin[method]!({ volume: "test", ...request }, done);
    });
  };
  const to = (region: string) => ({ to: region, complete: false, timeoutMs: 5_000 });
  expect(await call("aws", "switchover", to("gcp"))).toMatchObject({ ok: true });
  expect(await change("gcp")).toBe(Status.OK);
  await volume.leader("aws", ({ role, message }) => role === "mirror" && message === "");
  const back = await until("the way back", async () => {
    const answer = await call("gcp", "switchover", to("aws"));
    return answer.ok ? answer : undefined;
  });
  expect(back).toMatchObject({ ok: true });
  expect(await change("aws")).toBe(Status.OK);
  await volume.stop("aws");
  expect(await call("gcp", "promote", PromoteRequest.fromPartial({ force: true, volume: "test" }))).toMatchObject({
    ok: true,
  });
  expect(await change("gcp")).toBe(Status.OK);
});

test("a primary that starts again refuses a switchover, and says for what it waits", async () => {
  await start({ aws: 1, gcp: 1, azure: 1 }, WAIT);
  await isTaken("aws");
  await volume.stop("azure");
  await restart("aws");
  const { address } = await waiting("aws", "azure");
  const order = { volume: "test", to: "gcp", complete: false, timeoutMs: 1_000 };
  const answer = await new Promise<AdminAnswer>((resolve, reject) => {
    volume.admin(address).switchover(order, (error, given) => (error === null ? resolve(given) : reject(error)));
  });
  expect(answer).toMatchObject({ ok: false, message: expect.stringContaining("waiting for azure") });
});

test("A volume is created once every region has said that it holds none, or by an order that names those that cannot, and never after a mere wait", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 }, { startAloneWaitMs: 0 });
  await volume.start("aws");
  const { address, message } = await waiting("aws", "gcp");
  expect(message).toMatch(/run 'mirrorfs format --without gcp'/);
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  expect((await volume.status(address)).role).toBe("unformatted");
  await volume.start("gcp");
  await isTaken("aws");
  await volume.leader("gcp", ({ role }) => role === "mirror");
});

test("an operator's order formats the volume without a region that starts later, which then follows", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1, azure: 1 });
  await volume.start("aws");
  const unnamed = { ok: false, message: expect.stringContaining("azure may hold the volume and does not answer") };
  expect(await volume.formatWithout(["gcp"])).toMatchObject(unnamed);
  expect(await volume.formatWithout(["gcp", "azure", "aws"])).toMatchObject({ ok: false });
  expect(await volume.formatWithout(["gcp", "azure"])).toMatchObject({ ok: true });
  await isTaken("aws");
  await Promise.all([volume.start("gcp"), volume.start("azure")]);
  for (const region of ["gcp", "azure"]) await volume.leader(region, ({ role }) => role === "mirror");
});

test("the order to format is refused where a region within reach holds the volume", async () => {
  await start({ aws: 1, gcp: 1, azure: 1 }, {});
  await Promise.all([volume.stop("aws"), volume.stop("azure")]);
  await rm(join(volume.directory, "aws-1"), { recursive: true });
  await volume.start("aws");
  const { address } = await volume.leader("aws", ({ role }) => role === "unformatted");
  const answer = await new Promise<AdminAnswer>((resolve, reject) => {
    const order = { volume: "test", without: ["azure"] };
    volume.admin(address).format(order, (error, given) => (error === null ? resolve(given) : reject(error)));
  });
  expect(answer).toMatchObject({ ok: false, message: expect.stringContaining("gcp holds the volume already") });
});

test("a region alone, with no other in the volume file, formats and serves at once, also after a restart", async () => {
  volume = await TestVolume.create({ aws: 1 }, WAIT);
  await volume.start("aws");
  await isTaken("aws");
  await restart("aws");
  await isTaken("aws");
});
