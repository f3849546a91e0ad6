import { afterEach, expect, test } from "vitest";
import { epochNumber, type RegionIndex, type SliceId } from "../../core/ids.ts";
import {
  type AdminAnswer,
  type LossReportAnswer,
  type PromoteAnswer,
  PromoteRequest,
} from "../../proto/generated/admin.ts";
import { Status } from "../../proto/generated/metadata.ts";
import type { WanProxy } from "../../sandbox/wan-proxy.ts";
import { TestVolume } from "../meta-server/harness.ts";
import { makeCommand, outcomeOf, RawClient } from "../meta-server/raw-client.ts";
import { until } from "../support/until.ts";

/** The primary's role changes hands. Each test's title is its promise in docs/SEMANTICS.md. */
let volume: TestVolume;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await volume.close();
});

/** Starts all regions; the servers of those in `linked` reach the others through a link that can be cut. */
async function start(regions: Record<string, number>, linked: readonly string[]): Promise<Map<string, WanProxy>> {
  volume = await TestVolume.create(regions);
  const links = new Map<string, WanProxy>();
  for (const region of linked) links.set(region, await volume.linkOf(region));
  await Promise.all(Object.keys(regions).map((region) => volume.start(region)));
  for (const region of Object.keys(regions))
    await volume.leader(region, ({ role }) => role === (region === "aws" ? "primary" : "mirror"));
  return links;
}

async function writer(): Promise<RawClient> {
  const client = new RawClient((await volume.leader("aws")).address);
  clients.push(client);
  await until("a session to open", async () => (await client.open()).status === Status.OK);
  return client;
}

async function ask<A>(region: string, method: string, request: object): Promise<A> {
  const { address } = await volume.leader(region);
  const admin = volume.admin(address) as unknown as Record<string, (...args: unknown[]) => void>;
  return new Promise((resolve, reject) => {
    admin[method]!({ volume: "test", ...request }, (error: Error | null, answer: A) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
}

test("A switchover that its target does not take up is taken back, and only once the target has declined for good", async () => {
  const link = (await start({ aws: 1, gcp: 1 }, ["gcp"])).get("gcp")!;
  const client = await writer();
  await client.make(1, "before");
  const { version } = await volume.leader("aws");
  await volume.leader("gcp", (status) => status.version!.sequence === version!.sequence);

  // The primary reaches the mirror, and finds it ready; the mirror does not learn of the seal.
  link.partition();
  const answer = ask<AdminAnswer>("aws", "switchover", { to: "gcp", complete: false, timeoutMs: 1_000 });
  await volume.leader("aws", ({ role }) => role === "sealed");
  await volume.stop("gcp");
  // Its patience is over, and still it may not take back what the mirror may have taken up.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect((await volume.leader("aws")).role).toBe("sealed");
  const refused = await client.mutate(makeCommand(1, "too early"));
  expect(refused.status).not.toBe(Status.OK);

  // The mirror is back and still has not seen the seal: now it can decline.
  await volume.start("gcp");
  expect(await answer).toMatchObject({ ok: false, message: expect.stringContaining("aws remains the primary") });
  await volume.leader("aws", ({ role }) => role === "primary");
  await until("a change", async () => (await client.mutate(makeCommand(1, "after"))).status === Status.OK);

  // And keeps to it: when the seal arrives at last, it follows into the epoch that the old primary began.
  link.heal();
  const primary = await volume.leader("aws");
  const mirror = await volume.leader("gcp", (it) => it.version!.sequence >= primary.version!.sequence);
  expect([mirror.role, mirror.epochRegion]).toEqual(["mirror", "aws"]);
  expect(epochNumber(mirror.version!.epoch as never)).toBe(2);
  expect((await volume.leader("aws")).role).toBe("primary");
});

test("A promotion by force keeps a report: where the histories part, the last commit the mirror had heard of, and each file with blocks that the region lacks and whose home region does not answer", async () => {
  const links = await start({ aws: 1, gcp: 1, azure: 1 }, ["gcp", "azure"]);
  const client = await writer();
  const sliced = async (name: string, home: number) => {
    const file = await client.make(1, name);
    const granted = outcomeOf(await client.mutate({ kind: "grantSlices", count: 8 })) as { grant: { first: SliceId } };
    const slice = { id: granted.grant.first, bytes: 10, home: home as RegionIndex, crc32c: [1] };
    const write = { kind: "write", inode: file.inode, extents: [{ kind: "slice", offset: 0, slice }] } as const;
    expect((await client.mutate(write)).status).toBe(Status.OK);
    return file.inode;
  };
  const lost = await sliced("in aws", 0);
  await sliced("in azure", 2);
  await volume.leader("gcp", ({ pendingBlocks }) => pendingBlocks === 2);

  // The mirror hears of a backlog of some frames, and the primary is lost when the first of them has arrived.
  const gcp = links.get("gcp")!;
  for (const link of links.values()) link.partition("both", "reset");
  const backlog = Array.from({ length: 600 }, async (_, i) => {
    const file = await client.make(1, `backlog ${i}`);
    const data = Buffer.alloc(4_000, i);
    await client.mutate({ kind: "write", inode: file.inode, extents: [{ kind: "inline", offset: 0, data }] });
  });
  await Promise.all(backlog);
  const known = (await volume.leader("gcp")).version!;
  const { version: last } = await volume.leader("aws");
  gcp.setBandwidth(250_000);
  gcp.heal();
  await volume.leader("gcp", ({ version }) => version!.sequence > known.sequence);
  await new Promise((resolve) => setTimeout(resolve, 1_500)); // what it heard is committed once a second
  gcp.partition("both", "reset");
  const { version: end } = await volume.leader("aws");
  await volume.stop("aws");
  const { version: fork } = await volume.leader("gcp");
  expect(fork!.sequence).toBeLessThan(last!.sequence);
  gcp.heal();

  const { ok, report } = await ask<PromoteAnswer>(
    "gcp",
    "promote",
    PromoteRequest.fromPartial({ force: true, volume: "test" }),
  );
  expect(ok).toBe(true);
  expect(report).toMatchObject({ present: true, fromRegion: "aws", toRegion: "gcp", fork });
  const { epoch, sequence } = report!.heard!;
  expect(epoch).toBe(fork!.epoch);
  expect(sequence).toBeGreaterThanOrEqual(last!.sequence);
  expect(sequence).toBeLessThanOrEqual(end!.sequence);
  expect(report!.files).toEqual([{ inode: lost, path: "/in aws", bytes: 10, slices: 1 }]);
  await volume.stop("gcp");
  await volume.start("gcp");
  await volume.leader("gcp");
  expect(await ask<LossReportAnswer>("gcp", "lossReport", {})).toEqual({ ...report, leader: expect.any(String) });
});
