import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type PromoteAnswer, PromoteRequest } from "../../proto/generated/admin.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { TestVolume } from "../meta-server/harness.ts";
import { RawClient } from "../meta-server/raw-client.ts";
import { until } from "../support/until.ts";

/** What docs/operations/repair.md and fail-over.md tell people to do with data directories. */
let volume: TestVolume;
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await volume.close();
});

async function writer(region: string): Promise<RawClient> {
  const { address } = await volume.leader(region, ({ role }) => role === "primary");
  const client = new RawClient(address);
  clients.push(client);
  await until("a session to open", async () => (await client.open()).status === Status.OK);
  return client;
}

async function promote(region: string): Promise<void> {
  const { address } = await volume.leader(region);
  await until("the promotion to succeed", async () => {
    const answer = await new Promise<PromoteAnswer>((resolve, reject) =>
      volume
        .admin(address)
        .promote(PromoteRequest.fromPartial({ volume: "test", force: true }), (error, reply) =>
          error === null ? resolve(reply) : reject(error),
        ),
    );
    return answer.ok;
  });
}

const empty = (region: string, member: number) =>
  rm(join(volume.directory, `${region}-${member}`), { recursive: true });

test("a metadata server that lost its disk recovers from the others, and can lead", async () => {
  volume = await TestVolume.create({ aws: 3 });
  await volume.start("aws");
  const client = await writer("aws");
  await Promise.all(Array.from({ length: 200 }, (_, n) => client.make(1, `file-${n}`)));
  const { member } = await volume.leader("aws");
  const lost = (member % 3) + 1;
  await volume.stop("aws", lost);
  await empty("aws", lost);
  await client.make(1, "meanwhile");
  await volume.start("aws", lost);
  await until("one state everywhere", async () => {
    const all = await Promise.all(volume.volume.regions.get("aws")!.meta.map((address) => volume.status(address)));
    return all.every(({ stateHash, version }) => version!.sequence > 200 && stateHash === all[0]!.stateHash);
  });
  await volume.stop("aws", member);
  const next = new RawClient((await volume.leader("aws", ({ role }) => role === "primary")).address);
  clients.push(next);
  await next.welcome;
  expect(await next.lookup(1, "meanwhile")).toMatchObject({ kind: "file" });
});

test("an old primary with changes of its own follows once its disk is emptied", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer("aws");
  await client.make(1, "shared");
  const { version } = await volume.leader("aws");
  await volume.leader("gcp", (status) => status.version!.sequence >= version!.sequence);
  await volume.stop("gcp");
  await client.make(1, "of its own");
  await volume.stop("aws");
  await volume.start("gcp");
  await promote("gcp");
  await volume.start("aws");
  await volume.leader("aws", ({ role }) => role === "fenced");
  await volume.stop("aws");
  await empty("aws", 1);
  await volume.start("aws");
  expect((await volume.leader("aws", ({ role }) => role !== "unformatted")).role).toBe("mirror");
  await until("one state", async () => {
    const [a, b] = [await volume.leader("aws"), await volume.leader("gcp")];
    return a.stateHash === b.stateHash;
  });
});

test("a primary that has lost everything does not format a second volume: it waits for the other regions, and follows", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 }, { startAloneWaitMs: 20_000 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer("aws");
  await client.make(1, "kept");
  const { uuid, version } = await volume.leader("aws");
  await volume.leader("gcp", (status) => status.version!.sequence >= version!.sequence);
  await Promise.all([volume.stop("aws"), volume.stop("gcp")]);
  await empty("aws", 1);
  await volume.start("aws");
  const waiting = await volume.leader("aws", ({ message }) => message !== "");
  expect([waiting.role, waiting.message]).toEqual(["unformatted", expect.stringMatching(/waiting for gcp/)]);
  await volume.start("gcp");
  await volume.leader("aws", ({ message }) => message.includes("promote --region gcp"));
  expect((await volume.leader("aws")).role).toBe("unformatted");
  await promote("gcp");
  expect(await volume.leader("aws", ({ role }) => role === "mirror")).toMatchObject({ uuid });
});
