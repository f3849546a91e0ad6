import { afterEach, expect, test, vi } from "vitest";
import type { ByteString, Inode, RegionIndex, SessionId, SliceId } from "../../../core/ids.ts";
import { Machine } from "../../../meta-server/machine/machine.ts";
import { FollowSession } from "../../../meta-server/roles/follower/follow-session.ts";
import { Freshness, Status } from "../../../proto/generated/metadata.ts";
import { until } from "../../support/until.ts";
import { TestVolume } from "../harness.ts";
import { makeCommand, outcomeOf, RawClient } from "../raw-client.ts";

let volume: TestVolume;
const clients: RawClient[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const client of clients.splice(0)) client.close();
  await volume.close();
});

async function connect(region: string, options: ConstructorParameters<typeof RawClient>[1] = {}): Promise<RawClient> {
  const { address } = await volume.leader(region, (status) => status.role !== "unformatted");
  const client = new RawClient(address, options);
  clients.push(client);
  await client.welcome;
  return client;
}

async function writer(): Promise<RawClient> {
  const client = await connect("aws");
  await volume.leader("aws", (status) => status.role === "primary");
  await until("a session", async () => ((await client.open()).status === Status.OK ? true : undefined));
  return client;
}

/** Waits until both regions are at the same sequence, and returns their states. */
async function level() {
  return until("both regions at one sequence", async () => {
    const [a, b] = [await volume.leader("aws"), await volume.leader("gcp")];
    return a.version!.sequence === b.version!.sequence && a.version!.sequence > 0 ? [a, b] : undefined;
  });
}

test("Same sequence, same state hash, in every region", async () => {
  volume = await TestVolume.create({ aws: 3, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const mirror = await connect("gcp");
  for (let i = 0; i < 50; i += 1) {
    const made = await client.make(1, `f${i}`);
    expect(await mirror.lookup(1, `f${i}`)).toEqual(made);
  }
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => client.make(1, `g${i}`)));
  const [a, b] = await level();
  expect(b!.stateHash).toBe(a!.stateHash);
  expect([a!.role, b!.role, b!.message]).toEqual(["primary", "mirror", ""]);
  expect((await mirror.mutate(makeCommand(1, "no"))).status).toBe(Status.NOT_PRIMARY);
  expect((await mirror.mutate(makeCommand(1, "no"))).primary).toBe("aws");
});

test("a mirror catches up on one stream, also when more entries arrive than its group takes at once (defect 22)", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 }, { servers: { groupTuning: { proposalsMax: 256 } } });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  await level();
  await volume.stop("gcp");
  for (let i = 0; i < 3_000; i += 200) {
    await Promise.all(Array.from({ length: 200 }, (_, j) => client.make(1, `f${i + j}`)));
  }
  const close = vi.spyOn(FollowSession.prototype, "close");
  await volume.start("gcp");
  const [a, b] = await level();
  expect(b!.stateHash).toBe(a!.stateHash);
  expect(close.mock.calls).toEqual([]);
});

test("a mirror that was away catches up, across a change of leader of the primary", async () => {
  volume = await TestVolume.create({ aws: 3, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  let client = await writer();
  await client.make(1, "before");
  await volume.stop("gcp");
  await Promise.all(Array.from({ length: 500 }, (_, i) => client.make(1, `away${i}`)));
  const { member } = await volume.leader("aws");
  await volume.stop("aws", member);
  await volume.start("gcp");
  client = await connect("aws", { session: client.session, nextRequest: 1_000 });
  await until("a change at the new leader", async () => {
    const answer = await client.mutate(makeCommand(1, "after"), { request: 2_000 });
    return answer.status === Status.OK ? true : undefined;
  });
  const [a, b] = await level();
  expect(b!.stateHash).toBe(a!.stateHash);
});

test("A change is made once: one whose answer was lost is answered again by the next leader, and not repeated, for as long as its session lives", async () => {
  volume = await TestVolume.create({ aws: 3 });
  await volume.start("aws");
  const client = await writer();
  const { member } = await volume.leader("aws");
  const answers = Array.from({ length: 200 }, (_, i) => client.mutate(makeCommand(1, `f${i}`), { request: i + 1 }));
  await answers[20];
  await volume.stop("aws", member);
  await Promise.all(answers);
  const next = await connect("aws", { session: client.session });
  const again = await until("every request answered", async () => {
    const all = await Promise.all(
      Array.from({ length: 200 }, (_, i) => next.mutate(makeCommand(1, `f${i}`), { request: i + 1 })),
    );
    return all.every(({ status }) => status === Status.OK) ? all : undefined;
  });
  const inodes = new Set(
    again.map((answer) => (outcomeOf(answer) as { attributes: { inode: number } }).attributes.inode),
  );
  expect(inodes.size).toBe(200);
  const root = await next.ask({ $case: "getAttributes", value: { inode: 1 } });
  expect(root.status).toBe(Status.OK);
  for (const [i, answer] of (await Promise.all(answers)).entries()) {
    if (answer.status === Status.OK) expect(outcomeOf(answer)).toEqual(outcomeOf(again[i]!));
  }
});

test("A mirror that was away for longer than the changelog reaches takes a snapshot by itself; what its bucket lacks is pending", async () => {
  const servers = { groupTuning: { keepEntries: 100, cutStep: 100 } };
  volume = await TestVolume.create({ aws: 1, gcp: 1 }, { changelog: { retainHours: 0, retainGib: 0 }, servers });
  await volume.start("aws");
  await volume.formatWithout(["gcp"]);
  const client = await writer();
  const file = await client.make(1, "sliced");
  const granted = outcomeOf(await client.mutate({ kind: "grantSlices", count: 8 })) as { grant: { first: SliceId } };
  const slice = { id: granted.grant.first, bytes: 10, home: 0 as RegionIndex, crc32c: [1] };
  await client.mutate({ kind: "write", inode: file.inode, extents: [{ kind: "slice", offset: 0, slice }] });
  await Promise.all(Array.from({ length: 2_000 }, (_, i) => client.make(1, `r${i}`)));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await volume.start("gcp");
  const [a, b] = await level();
  expect(b!.stateHash).toBe(a!.stateHash);
  expect(b!.pendingBlocks).toBe(1);
  expect(a!.pendingBlocks).toBe(0);
  await client.make(1, "and on");
  const mirror = await connect("gcp");
  expect(await mirror.lookup(1, "and on")).toMatchObject({ kind: "file" });
});

test("a snapshot that lacks a key is refused, the status says so, and the next whole one is taken (defect 14)", async () => {
  const servers = { groupTuning: { keepEntries: 100, cutStep: 100 } };
  volume = await TestVolume.create({ aws: 1, gcp: 1 }, { changelog: { retainHours: 0, retainGib: 0 }, servers });
  await volume.start("aws");
  await volume.formatWithout(["gcp"]);
  const client = await writer();
  await Promise.all(Array.from({ length: 2_000 }, (_, i) => client.make(1, `r${i}`)));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  const { volumeSnapshot } = Machine.prototype;
  const spy = vi.spyOn(Machine.prototype, "volumeSnapshot").mockImplementation(async function (this: Machine) {
    const { pages, release } = await volumeSnapshot.call(this);
    const without = async function* () {
      let isFirst = true;
      for await (const page of pages) {
        yield isFirst || page.length < 2 ? page : page.slice(1);
        isFirst = false;
      }
    };
    return { pages: without(), release };
  });
  await volume.start("gcp");
  const refusing = await volume.leader("gcp", ({ message }) => message.startsWith("not following: the snapshot"));
  expect(refusing.message).toContain("do not add up to the state hash that the primary stated");
  expect([refusing.role, refusing.version!.sequence]).toEqual(["unformatted", 0]);
  spy.mockRestore();
  const [a, b] = await level();
  expect([b!.stateHash, b!.message]).toEqual([a!.stateHash, ""]);
});

test("an unlinked file that is open at the mirror is kept until it is released there", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const mirror = await connect("gcp");
  const file = await client.make(1, "orphan");
  const opened = await mirror.ask({ $case: "open", value: { inode: file.inode, beliefs: [], chunks: 0 } });
  expect(opened.status).toBe(Status.OK);
  await client.mutate({ kind: "unlink", parent: 1 as Inode, name: "orphan" as ByteString });
  const attributes = { $case: "getAttributes", value: { inode: file.inode } } as const;
  await new Promise((resolve) => setTimeout(resolve, 3_000)); // longer than the grace of the reaper (reaper.ts)
  expect((await client.ask(attributes)).status).toBe(Status.OK);
  await mirror.ask({ $case: "release", value: { inode: file.inode, handles: 1 } });
  await until("the reaping", async () => ((await mirror.ask(attributes)).error === "ENOENT" ? true : undefined));
});

test("an unlinked file that is open at a mirror is kept through a snapshot that the mirror takes (defect 15)", async () => {
  const servers = { groupTuning: { keepEntries: 100, cutStep: 100 } };
  volume = await TestVolume.create({ aws: 1, gcp: 1 }, { changelog: { retainHours: 0, retainGib: 0 }, servers });
  await volume.start("aws");
  await volume.formatWithout(["gcp"]);
  const client = await writer();
  const session = 77 as SessionId;
  const open = { kind: "openSession", session, client: "at gcp", region: 1 as RegionIndex } as const;
  expect((await (await connect("aws", { session })).mutate(open, { request: 0 })).status).toBe(Status.OK);
  const file = await client.make(1, "orphan");
  await client.mutate({ kind: "unlink", parent: 1 as Inode, name: "orphan" as ByteString });
  await Promise.all(Array.from({ length: 2_000 }, (_, i) => client.make(1, `r${i}`)));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await volume.start("gcp");
  await level();
  const attributes = { $case: "getAttributes", value: { inode: file.inode } } as const;
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect((await client.ask(attributes)).error, "its client has not yet said what it has open").toBe("");
  const mirror = await connect("gcp", { session, open: [{ inode: file.inode, handles: 1 }] });
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const kept = await client.ask(attributes);
  expect([kept.status, kept.error]).toEqual([Status.OK, ""]);
  await mirror.ask({ $case: "release", value: { inode: file.inode, handles: 1 } });
  await until("the reaping", async () => ((await mirror.ask(attributes)).error === "ENOENT" ? true : undefined));
});

test("with the primary out of reach a mirror answers from the state that it has, and says so", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  await Promise.all([volume.start("aws"), volume.start("gcp")]);
  const client = await writer();
  const file = await client.make(1, "there");
  await level();
  await volume.stop("aws");
  const mirror = await connect("gcp");
  const attributes = { $case: "getAttributes", value: { inode: file.inode } } as const;
  const answer = await mirror.ask(attributes);
  expect([answer.status, answer.primaryUnreachable]).toEqual([Status.OK, true]);
  const token = await mirror.ask(attributes, Freshness.TOKEN, answer.version);
  expect([token.status, token.primaryUnreachable]).toEqual([Status.OK, false]);
  const ahead = await mirror.ask(attributes, Freshness.TOKEN, { epoch: answer.version!.epoch, sequence: 1e9 });
  expect(ahead.status).toBe(Status.BEHIND);
});
