import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { decodeAttributes, encodeAttributes, encodeCommand, encodeProposed } from "../../core/codec.ts";
import type { EpochCode, RegionIndex, SessionId, SliceId } from "../../core/ids.ts";
import { attributesKey } from "../../core/keys.ts";
import { encodeLocal, type LocalEntry } from "../../meta-server/machine/local-entries.ts";
import { Machine } from "../../meta-server/machine/machine.ts";
import { openDataDirectory } from "../../meta-server/storage/data-directory.ts";
import { channelCredentials } from "../../proto/credentials.ts";
import {
  type AdminAnswer,
  type PromoteAnswer,
  PromoteRequest,
  type WaitProgress,
} from "../../proto/generated/admin.ts";
import { AgentClient, type GarbageSlices, type RevokedGrants } from "../../proto/generated/agent.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { TestVolume } from "../meta-server/harness.ts";
import { makeCommand, outcomeOf, RawClient } from "../meta-server/raw-client.ts";
import { until } from "../support/until.ts";

let volume: TestVolume;
const closing: { close(): void }[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const one of closing.splice(0)) one.close();
  await volume.close();
});

async function create(regions: Record<string, number>, options: Partial<VolumeDescription> = {}): Promise<void> {
  volume = await TestVolume.create(regions, options);
}

/** A client with a session at the primary. */
async function writer(region = "aws"): Promise<RawClient> {
  const { address } = await volume.leader(region, ({ role }) => role === "primary");
  const client = new RawClient(address);
  closing.push(client);
  await until("a session to open", async () => (await client.open()).status === Status.OK);
  return client;
}

/** Creates a file with one slice of ten bytes whose home is the first region. */
async function sliced(client: RawClient, name: string) {
  const file = await client.make(1, name);
  const granted = outcomeOf(await client.mutate({ kind: "grantSlices", count: 8 })) as { grant: { first: SliceId } };
  const slice = { id: granted.grant.first, bytes: 10, home: 0 as RegionIndex, crc32c: [1] };
  await client.mutate({ kind: "write", inode: file.inode, extents: [{ kind: "slice", offset: 0, slice }] });
  return { inode: file.inode, slice };
}

async function agentOf(region: string): Promise<AgentClient> {
  const { address } = await volume.leader(region);
  const agent = new AgentClient(address, channelCredentials());
  closing.push(agent);
  return agent;
}

function promised<A>(call: (done: (error: Error | null, answer: A) => void) => unknown): Promise<A> {
  return new Promise((resolve, reject) => {
    call((error, answer) => (error === null ? resolve(answer) : reject(error)));
  });
}

test("What is not copied is pending: status counts it until a verified copy is reported, and wait returns only when nothing of the tree is pending", async () => {
  await create({ aws: 1, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const { slice } = await sliced(client, "sliced");
  const { version } = await volume.leader("aws");
  const mirror = await volume.leader("gcp", (status) => status.version!.sequence >= version!.sequence);
  expect([mirror.pendingBlocks, mirror.pendingBytes, mirror.copiedBlocks]).toEqual([1, 10, 0]);
  const progress: WaitProgress[] = [];
  const waiting = volume.admin(mirror.address).wait({ volume: "test", path: "/sliced", atLeast: version });
  waiting.on("data", (one: WaitProgress) => progress.push(one));
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(progress.some(({ done }) => done)).toBe(false);
  expect(progress.at(-1)).toMatchObject({ pendingBlocks: 1, pendingBytes: 10, error: "" });
  const agent = await agentOf("gcp");
  await promised((done) =>
    agent.reportResident({ volume: "test", agent: "a", slices: [slice.id], failed: [] }, done as never),
  );
  await expect.poll(() => progress.at(-1)).toMatchObject({ done: true });
  expect(await volume.leader("gcp")).toMatchObject({ pendingBlocks: 0, copiedBlocks: 1 });
});

test("A block is deleted only when every region has applied that nothing names it any more, and gc.graceMs has passed since", async () => {
  await create({ aws: 1, gcp: 1 }, { gc: { graceMs: 1_000 } });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const { inode, slice } = await sliced(client, "sliced");
  await volume.leader("gcp", ({ pendingBlocks }) => pendingBlocks === 1);
  const agent = await agentOf("aws");
  const garbage = async () => {
    const answer = await promised<GarbageSlices>((done) =>
      agent.listGarbage({ volume: "test", after: 0, limit: 10 }, done as never),
    );
    return answer.slices.map(({ id }) => id);
  };
  // A mirror reports what it has applied several times a second: the primary's last report of it is from before the change.
  await new Promise((resolve) => setTimeout(resolve, 600));
  await volume.stop("gcp");
  await client.mutate({ kind: "setattr", inode, size: 0 });
  const droppedMs = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  expect(await garbage(), "a mirror that is away may still name it").toEqual([]);
  await volume.start("gcp");
  await until("the slice to be listed as garbage", async () => (await garbage()).length > 0);
  expect(await garbage()).toEqual([slice.id]);
  expect(Date.now() - droppedMs).toBeGreaterThan(1_000);
});

test("Blocks stored under ids that no command named are deleted once the session they were granted to is closed, and gc.graceMs has passed since", async () => {
  await create({ aws: 1, gcp: 1 }, { gc: { graceMs: 1_000 } });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const { slice } = await sliced(client, "sliced");
  const revoked = async (region: string) => {
    const agent = await agentOf(region);
    const answer = await promised<RevokedGrants>((done) =>
      agent.listRevoked({ volume: "test", after: 0, limit: 10 }, done as never),
    );
    return answer.grants;
  };
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(await revoked("aws"), "the session may still name them").toEqual([]);
  const closedMs = Date.now();
  await client.mutate({ kind: "closeSession", session: client.session });
  const left = [{ first: slice.id + 1, count: 7 }];
  for (const region of ["aws", "gcp"]) {
    await until("the ids to be listed as revoked", async () => (await revoked(region)).length > 0);
    expect(await revoked(region)).toEqual(left);
    expect(Date.now() - closedMs).toBeGreaterThan(1_000);
  }
  const agent = await agentOf("gcp");
  await promised((done) => agent.reportSwept({ volume: "test", firsts: [slice.id + 1] }, done as never));
  expect(await revoked("gcp")).toEqual([]);
  expect(await revoked("aws")).toEqual(left);
});

test("A mirror whose state differs from the primary's at the same sequence stops following, and names the sequence", async () => {
  await create({ aws: 1, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const file = await client.make(1, "same");
  const { version } = await volume.leader("aws");
  await volume.leader("gcp", (status) => status.version!.sequence >= version!.sequence && status.message === "");
  // One bit of the file's mode is wrong on the mirror's disk.
  await volume.stop("gcp");
  const { log, state } = await openDataDirectory(join(volume.directory, "gcp-1"), {
    volume: "test",
    region: "gcp",
    member: 1,
  });
  const [key, stored] = (await state.range("", "\xff", 10_000)).find(([it]) => it.endsWith(attributesKey(file.inode)))!;
  const attributes = decodeAttributes(stored);
  state.write([[key, encodeAttributes({ ...attributes, mode: attributes.mode ^ 1 })]]);
  await state.flush();
  await Promise.all([log.close(), state.close()]);

  await volume.start("gcp");
  await client.make(1, "another");
  const level = (await volume.leader("aws")).version!;
  await volume.leader("gcp", (it) => it.version!.sequence >= level.sequence && it.message === "");
  // The next change of the file leaves the rest of its attributes as they are here, and they differ.
  await client.mutate({ kind: "setattr", inode: file.inode, uid: 7 });
  const differing = (await volume.leader("aws")).version!;
  const stopped = await volume.leader("gcp", ({ message }) => message.startsWith("stopped"));
  const named = Number(/at sequence (\d+)/.exec(stopped.message)![1]);
  expect(named).toBeGreaterThan(level.sequence);
  expect(named).toBeLessThanOrEqual(differing.sequence);
  await client.make(1, "not followed");
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect((await volume.leader("gcp")).version).toEqual(stopped.version);
});

test("A bootstrap is written beside the state that it replaces and takes its place in one entry: one that breaks off changes nothing", async () => {
  await create({ aws: 1, gcp: 1 });
  const directory = join(volume.directory, "machine");
  const open = async () => {
    const stores = await openDataDirectory(directory, { volume: "test", region: "gcp", member: 1 });
    const onError = (error: Error) => {
      throw error;
    };
    return { log: stores.log, machine: await Machine.open(stores.state, { region: "gcp", retain, onError }) };
  };
  const retain = { hours: 1, gib: 1 };
  let { log, machine } = await open();
  let index = 0;
  const put = (data: Uint8Array) => machine.apply([{ index: ++index, term: 1, kind: "application", data }]);
  const local = (entry: LocalEntry) => put(encodeLocal(entry));
  const command = (sequence: number, one: Parameters<typeof encodeCommand>[0]) =>
    put(encodeProposed(stampOf(sequence === 0 ? 0 : 16), encodeCommand(one)));
  command(0, {
    kind: "format",
    uuid: "u",
    volume: "test",
    regions: ["aws", "gcp"],
    primary: 0 as RegionIndex,
    features: 1,
  });
  // The snapshot to load is this machine's own later state: any later state would do.
  const before = machine.version;
  const hash = machine.stateHash;
  command(1, makeCommand(1, "later"));
  const later = { version: machine.version, hash: machine.stateHash, pairs: await pairsOf(machine) };
  local({ kind: "load", generation: 2, nowMs: 0, pairs: later.pairs.slice(0, 1) });
  // The bootstrap breaks off and the server restarts: nothing of it is visible.
  await log.close();
  await machine.close();
  ({ log, machine } = await open());
  expect([machine.version, machine.stateHash]).toEqual([later.version, later.hash]);
  expect(before.sequence).toBeLessThan(later.version.sequence);
  expect(hash).not.toBe(later.hash);
  command(2, makeCommand(1, "beside the bootstrap"));
  const beside = machine.version;
  const generation = machine.facts.lastGeneration + 1;
  local({ kind: "load", generation, nowMs: 0, pairs: later.pairs });
  expect([machine.version, machine.facts.generation]).toEqual([beside, 1]);
  // A snapshot must not undo an epoch that this region has begun meanwhile (a promotion).
  const stated = { version: later.version, stateHash: later.hash, keys: later.pairs.length };
  const flip = { kind: "flip", generation, ...stated } as const;
  local({ ...flip, replaces: 0 });
  expect([machine.version, machine.facts.generation]).toEqual([beside, 1]);
  local({ ...flip, replaces: beside.epoch });
  expect([machine.version, machine.stateHash, machine.facts.generation]).toEqual([later.version, later.hash, 3]);
  await log.close();
  await machine.close();
});

function stampOf(epoch: number) {
  const session = 0 as SessionId;
  return { epoch: epoch as EpochCode, now: { seconds: 1, nanoseconds: 0 }, session, request: 0, lowWater: 0 };
}

async function pairsOf(machine: Machine): Promise<[string, Uint8Array][]> {
  const { pages, release } = await machine.volumeSnapshot();
  const pairs: [string, Uint8Array][] = [];
  for await (const page of pages) for (const [key, value] of page) pairs.push([key, Uint8Array.from(value)]);
  await release();
  return pairs;
}

test("A promotion is refused while another mirror within reach has applied more, and names it", async () => {
  await create({ aws: 1, gcp: 1, azure: 1 });
  await Promise.all(["aws", "gcp", "azure"].map((region) => volume.start(region)));
  const client = await writer();
  await client.make(1, "everywhere");
  const everywhere = (await volume.leader("aws")).version!.sequence;
  await volume.leader("azure", ({ version }) => version!.sequence >= everywhere);
  await volume.stop("azure");
  await client.make(1, "only at gcp");
  const more = (await volume.leader("aws")).version!.sequence;
  await volume.leader("gcp", ({ version }) => version!.sequence >= more);
  await volume.stop("aws");
  await volume.start("azure");
  const promote = async (region: string) => {
    const { address } = await volume.leader(region);
    return promised<PromoteAnswer>((done) =>
      volume.admin(address).promote(PromoteRequest.fromPartial({ volume: "test", force: true }), done as never),
    );
  };
  expect(await promote("azure")).toMatchObject({
    ok: false,
    message: expect.stringMatching(/gcp has applied more .*promote --region gcp/),
  });
  expect(await promote("gcp")).toMatchObject({ ok: true });
});

test("A primary that starts again takes no change before every other region has reported its epoch; startAlone says whether it waits for ever", async () => {
  await create({ aws: 1, gcp: 1 }, { startAlone: "wait", startAloneWaitMs: 0 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  await writer();
  await Promise.all([volume.stop("aws"), volume.stop("gcp")]);
  await volume.start("aws");
  const { address, message } = await volume.leader("aws", (status) => status.message !== "");
  expect(message).toMatch(/waiting for gcp/);
  const client = new RawClient(address);
  closing.push(client);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect((await client.open()).status).toBe(Status.NOT_PRIMARY);
  await volume.start("gcp");
  await until("the primary to accept a session", async () => (await client.open()).status === Status.OK);
});

test("a region counts as asked only once its leader has answered, not by the word of another member", async () => {
  await create({ aws: 1, gcp: 3 }, { startAlone: "wait", startAloneWaitMs: 0 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  await writer();
  const isMirror = async () => (await volume.status(volume.volume.regions.get("gcp")!.meta[0]!)).role === "mirror";
  await until("the member to hold the volume", isMirror);
  await Promise.all([volume.stop("aws"), volume.stop("gcp")]);
  await Promise.all([volume.start("aws"), volume.start("gcp", 1)]);
  await until("the mirror's member to report its epoch", isMirror);
  const primary = await volume.leader("aws", ({ message }) => message.includes("waiting for gcp"));
  const client = new RawClient(primary.address);
  closing.push(client);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect((await client.open()).status).toBe(Status.NOT_PRIMARY);
  await volume.start("gcp", 2);
  await until("the primary to accept a session", async () => (await client.open()).status === Status.OK);
});

test("An old primary that hears of a later epoch commits a fence: it refuses every change and reports that it is fenced, also after a restart", async () => {
  await create({ aws: 3, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  await client.make(1, "before");
  const before = (await volume.leader("aws")).version!.sequence;
  await volume.leader("gcp", ({ version }) => version!.sequence >= before);
  await volume.stop("gcp");
  await client.make(1, "never mirrored");
  await volume.stop("aws");
  await volume.start("gcp");
  const { address } = await volume.leader("gcp");
  const order = PromoteRequest.fromPartial({ volume: "test", force: true });
  expect(await promised((done) => volume.admin(address).promote(order, done as never))).toMatchObject({ ok: true });
  await volume.start("aws");
  await volume.leader("aws", ({ role }) => role === "fenced");
  await Promise.all([volume.stop("aws"), volume.stop("gcp")]);
  await volume.start("aws");
  const fenced = await volume.leader("aws");
  expect(fenced.role).toBe("fenced");
  const again = new RawClient(fenced.address, { session: client.session, nextRequest: 100 });
  closing.push(again);
  await again.welcome;
  expect((await again.mutate(makeCommand(1, "no"))).status).toBe(Status.NOT_PRIMARY);
  const to = { volume: "test", to: "gcp", complete: false, timeoutMs: 100 };
  const answer = await promised<AdminAnswer>((done) => volume.admin(fenced.address).switchover(to, done as never));
  expect(answer.ok).toBe(false);
});
