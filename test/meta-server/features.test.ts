import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { channelCredentials } from "../../proto/credentials.ts";
import type { AdminAnswer } from "../../proto/generated/admin.ts";
import { AgentClient } from "../../proto/generated/agent.ts";
import { until } from "../support/until.ts";
import { TestVolume } from "./harness.ts";
import { RawClient } from "./raw-client.ts";

let volume: TestVolume;

afterEach(() => volume.close());

async function upgrade(level: number, region = "aws"): Promise<AdminAnswer> {
  const { address } = await volume.leader(region, ({ role }) => role !== "unformatted");
  return new Promise((resolve, reject) => {
    const request = { volume: "test", level };
    volume.admin(address).upgrade(request, (error, answer) => (error === null ? resolve(answer) : reject(error)));
  });
}

/** A volume of level 1 in two regions, one member each. */
async function start(): Promise<void> {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  await Promise.all([volume.start("gcp", undefined, 1), volume.start("aws", undefined, 1)]);
  await areAlike();
}

async function areAlike(): Promise<void> {
  await until("both regions to have the same state", async () => {
    const [aws, gcp] = [await volume.leader("aws"), await volume.leader("gcp")];
    return aws.features > 0 && aws.stateHash === gcp.stateHash ? true : undefined;
  });
}

async function restart(region: string, supports: number): Promise<void> {
  await volume.stop(region);
  await volume.start(region, undefined, supports);
}

/** Waits for the primary to serve after its restart. */
const upgraded = (level: number) =>
  until("the level to be raised", async () => ((await upgrade(level)).ok ? true : undefined));

test("the level is raised by one, and only once every server of every region knows the next one", async () => {
  await start();
  await restart("aws", 3);
  await until("the primary to serve", async () => ((await upgrade(2)).message.includes("waits") ? undefined : true));
  expect(await upgrade(2)).toMatchObject({
    ok: false,
    message: "not every metadata server knows level 2: gcp/1 knows 1",
  });
  expect((await upgrade(3)).message).toBe("the volume is at level 1, and takes only the next one, 2");
  await volume.stop("gcp");
  expect((await upgrade(2)).message).toBe("not every metadata server knows level 2: no leader of gcp answers");
  await volume.start("gcp", undefined, 2);
  expect((await upgrade(2, "gcp")).message).toContain("gcp is not the primary");
  await upgraded(2);
  await areAlike();
  for (const region of ["aws", "gcp"]) expect((await volume.leader(region)).features).toBe(2);
  expect((await upgrade(3)).message).toBe("not every metadata server knows level 3: gcp/1 knows 2");
  expect((await volume.leader("aws")).features).toBe(2);
});

test("a server that does not know the level of its state, of the primary or of its metadata servers is stopped or refused", async () => {
  await start();
  await restart("gcp", 2);
  await restart("aws", 2);
  await upgraded(2);
  await areAlike();
  await volume.stop("gcp");
  const reason = "the volume is at feature level 2, and this program supports 1: use a newer program";
  await expect(volume.start("gcp", undefined, 1)).rejects.toMatchObject({ message: reason, exitCode: 2 });
  await volume.start("gcp", undefined, 2); // nothing was changed, and nothing is still open
  await areAlike();
  // A mirror that has nothing, and whose server is old, gets neither entries nor a snapshot.
  await volume.stop("gcp");
  await rm(join(volume.directory, "gcp-1"), { recursive: true });
  await volume.start("gcp", undefined, 1);
  const refused = await volume.leader("gcp", ({ message }) => message.includes("refused"));
  expect(refused.message).toContain(
    "the volume is at feature level 2, and the leader of gcp supports 1: start a newer program there",
  );
  expect(refused.version?.sequence ?? 0).toBe(0);
  const agent = new AgentClient((await volume.leader("aws")).address, channelCredentials());
  const ask = (supports: number) =>
    new Promise((resolve) => {
      agent.regions({ volume: "test", supports }, (error, answer) => resolve(error?.details ?? answer.regions));
    });
  const watch = (supports: number) =>
    new Promise((resolve) => {
      const stream = agent.watchPending({ volume: "test", agent: "a", supports });
      stream.on("data", ({ caughtUp }) => caughtUp && stream.cancel());
      stream.on("error", ({ details }: { details: string }) => resolve(details));
    });
  expect([await ask(1), await ask(2)]).toEqual([reason, ["aws", "gcp"]]);
  expect(await watch(1)).toBe(reason);
  expect(await watch(2)).not.toBe(reason);
  agent.close();
});

test("one member that is old, or does not answer, holds back the level of all", async () => {
  volume = await TestVolume.create({ aws: 3 });
  await Promise.all([1, 2, 3].map((member) => volume.start("aws", member, 1)));
  const { member: old } = await volume.leader("aws", ({ role }) => role === "primary");
  const others = [1, 2, 3].filter((member) => member !== old);
  for (const member of others) {
    await volume.stop("aws", member);
    await volume.start("aws", member, 2);
  }
  await until("a refusal that names the old member", async () =>
    (await upgrade(2)).message === `not every metadata server knows level 2: aws/${old} knows 1` ? true : undefined,
  );
  await volume.stop("aws", old);
  await until("a refusal that names the silent member", async () =>
    (await upgrade(2)).message === `not every metadata server knows level 2: aws/${old} does not answer`
      ? true
      : undefined,
  );
  await volume.start("aws", old, 2);
  await upgraded(2);
  const client = new RawClient((await volume.leader("aws", ({ role }) => role === "primary")).address);
  await client.open();
  await client.make(1, "file");
  client.close();
});
