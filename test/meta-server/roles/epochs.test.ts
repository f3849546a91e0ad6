import { afterEach, expect, test, vi } from "vitest";
import type { RegionIndex, SliceId } from "../../../core/ids.ts";
import { epochNumber } from "../../../core/ids.ts";
import { Regions } from "../../../meta-server/roles/follower/regions.ts";
import type { AdminAnswer, LossReportAnswer, PromoteAnswer, PromoteRequest } from "../../../proto/generated/admin.ts";
import { Status } from "../../../proto/generated/metadata.ts";
import { asVersion } from "../../../proto/versions.ts";
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

let nextRequest = 1;

async function connect(region: string, session?: number): Promise<RawClient> {
  const { address } = await volume.leader(region, (status) => status.role !== "unformatted");
  const client = new RawClient(address, { session, nextRequest });
  nextRequest += 100_000; // the numbers of a session's requests grow, whichever client sends them
  clients.push(client);
  await client.welcome;
  return client;
}

async function start(regions: Record<string, number>): Promise<RawClient> {
  volume = await TestVolume.create(regions);
  await Promise.all(Object.keys(regions).map((region) => volume.start(region)));
  await volume.leader("aws", (status) => status.role === "primary");
  await volume.leader("gcp", (status) => status.role === "mirror");
  const client = await connect("aws");
  await until("a session", async () => ((await client.open()).status === Status.OK ? true : undefined));
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

const switchover = (from: string, to: string) =>
  ask<AdminAnswer>(from, "switchover", { to, complete: false, timeoutMs: 5_000 });
const promote = (region: string, force: boolean, evenIfAlive = false, more: Partial<PromoteRequest> = {}) =>
  ask<PromoteAnswer>(region, "promote", { force, evenIfAlive, discard: [], confirmed: [], applied: [], ...more });

/** Creates files at the current primary, and retries each under the same request number until it is acknowledged. */
class Writer {
  readonly #session: number;
  readonly acknowledged: string[] = [];
  #stopped = false;
  readonly done: Promise<void>;

  constructor(session: number) {
    this.#session = session;
    this.done = this.#run();
  }

  async #run(): Promise<void> {
    let client: RawClient | undefined;
    for (let request = 1; !this.#stopped; request += 1) {
      for (;;) {
        client ??= await this.#find();
        const answer = await client?.mutate(makeCommand(1, `w${request}`), { request, lowWater: request });
        if (answer?.status === Status.OK) break;
        if (answer?.status === Status.FAILED) throw new Error(answer.error);
        client?.close();
        client = undefined;
      }
      this.acknowledged.push(`w${request}`);
    }
    client?.close();
  }

  async #find(): Promise<RawClient | undefined> {
    for (const { meta } of volume.volume.regions.values()) {
      for (const address of meta) {
        const status = await volume.status(address).catch(() => undefined);
        if (!status?.isLeader || status.role !== "primary") continue;
        const client = new RawClient(address, { session: this.#session });
        await client.welcome;
        return client;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    return undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.done;
  }
}

test("a switchover under load loses nothing and fails no write, and so does the one back", async () => {
  const client = await start({ aws: 3, gcp: 3 });
  const work = new Writer(client.session);
  await until("some writes", () => work.acknowledged.length > 50 || undefined);
  const there = await switchover("aws", "gcp");
  expect(there).toMatchObject({ ok: true });
  await until("more writes", () => work.acknowledged.length > 150 || undefined);
  const back = await until("the switchover back", async () => {
    const answer = await switchover("gcp", "aws");
    return answer.ok ? answer : undefined;
  });
  expect(epochNumber(asVersion(back.version).epoch)).toBe(3);
  await until("more writes", () => work.acknowledged.length > 250 || undefined);
  await work.stop();
  const reader = await connect("gcp");
  for (const name of work.acknowledged) expect(await reader.lookup(1, name)).toMatchObject({ kind: "file" });
  const [a, b] = await until("one state", async () => {
    const both = [await volume.leader("aws"), await volume.leader("gcp")];
    return both[0]!.version!.sequence === both[1]!.version!.sequence ? both : undefined;
  });
  expect(b!.stateHash).toBe(a!.stateHash);
});

test("a switchover to an unknown or unreachable region, to the primary itself, or asked of a mirror is refused", async () => {
  await start({ aws: 1, gcp: 1 });
  expect((await switchover("aws", "aws")).message).toContain("already");
  expect((await switchover("aws", "nowhere")).message).toContain("no region nowhere");
  expect((await switchover("gcp", "aws")).ok).toBe(false);
  await volume.stop("gcp");
  expect((await switchover("aws", "gcp")).message).toContain("out of reach");
  expect((await volume.leader("aws")).role).toBe("primary");
});

test("a region that has declined a seal does not begin an epoch from it, and the old primary continues", async () => {
  const client = await start({ aws: 1, gcp: 1 });
  const status = await volume.leader("aws");
  // Declines the seal before it is made, as if the switchover had been aborted while the target was slow.
  for (let ahead = 1; ahead <= 200; ahead += 1) {
    const seal = { epoch: status.version!.epoch, sequence: status.version!.sequence + ahead };
    await ask<AdminAnswer>("gcp", "refuseSeal", { seal });
  }
  const answer = await ask<AdminAnswer>("aws", "switchover", { to: "gcp", complete: false, timeoutMs: 1_000 });
  expect(answer.ok).toBe(false);
  expect(answer.message).toContain("remains the primary");
  expect((await client.mutate(makeCommand(1, "on"))).status).toBe(Status.OK);
  await until("the mirror to follow into the new epoch", async () => {
    const mirror = await volume.leader("gcp");
    return mirror.version!.epoch > status.version!.epoch && mirror.role === "mirror" ? true : undefined;
  });
});

test("a promotion by force is refused while it is not needed, makes a loss report, and the old primary is fenced when it is back", async () => {
  const client = await start({ aws: 1, gcp: 1 });
  const file = await client.make(1, "sliced");
  const granted = outcomeOf(await client.mutate({ kind: "grantSlices", count: 8 })) as { grant: { first: SliceId } };
  const slice = { id: granted.grant.first, bytes: 10, home: 0 as RegionIndex, crc32c: [1] };
  await client.mutate({ kind: "write", inode: file.inode, extents: [{ kind: "slice", offset: 0, slice }] });
  await until("the mirror to have it", async () =>
    (await volume.leader("gcp")).pendingBlocks === 1 ? true : undefined,
  );
  expect((await promote("gcp", false)).message).toContain("alive");
  expect((await promote("aws", true)).message).toContain("already");

  await volume.stop("gcp");
  await client.make(1, "never mirrored");
  await volume.stop("aws");
  await volume.start("gcp");
  await volume.leader("gcp");
  expect((await promote("gcp", false)).message).toContain("--force");
  const promoted = await promote("gcp", true);
  expect(promoted.ok).toBe(true);
  expect(promoted.report).toMatchObject({ present: true, fromRegion: "aws", toRegion: "gcp", truncated: false });
  expect(promoted.report!.files).toEqual([{ inode: file.inode, path: "/sliced", bytes: 10, slices: 1 }]);
  expect(await ask<LossReportAnswer>("gcp", "lossReport", {})).toMatchObject({
    present: true,
    fork: promoted.report!.fork,
  });
  const there = await connect("gcp", client.session);
  const made = await there.mutate(makeCommand(1, "at gcp"));
  expect([made.status, made.error]).toEqual([Status.OK, ""]);

  await volume.start("aws");
  const fenced = await volume.leader(
    "aws",
    (status) => status.role === "fenced" && status.message.includes("acknowledged after"),
  );
  expect(fenced.version!.epoch).toBeLessThan((await volume.leader("gcp")).version!.epoch);
  const old = await connect("aws", client.session);
  expect((await old.mutate(makeCommand(1, "no"))).status).toBe(Status.NOT_PRIMARY);
});

test("A fenced region can be promoted, and continues from its own past, also after a restart", async () => {
  const client = await start({ aws: 1, gcp: 1 });
  await volume.stop("gcp");
  await client.make(1, "never mirrored");
  await volume.stop("aws");
  await volume.start("gcp");
  await volume.leader("gcp");
  expect(await promote("gcp", true)).toMatchObject({ ok: true });
  await volume.start("aws");
  await volume.leader("aws", (status) => status.role === "fenced");
  await volume.stop("gcp");
  await new Promise((resolve) => setTimeout(resolve, 300)); // it says that it is fenced at its next round, after 100 ms

  expect(await promote("aws", true)).toMatchObject({ ok: true });
  expect(await volume.leader("aws")).toMatchObject({ role: "primary", message: "" });
  await volume.stop("aws");
  await volume.start("aws");
  const { version } = await volume.leader("aws", (status) => status.role === "primary");
  expect(epochNumber(asVersion(version).epoch)).toBe(32);
  const again = await connect("aws", client.session);
  await until("it to take a change", async () => {
    const made = await again.mutate(makeCommand(1, "after"));
    return made.status === Status.OK && made.error === "";
  });
  expect(await again.lookup(1, "never mirrored")).toMatchObject({ kind: "file" });

  await volume.start("gcp");
  await volume.leader("gcp", (status) => status.role === "fenced");
});

test("a promotion by force is refused while the primary's leader answers, unless evenIfAlive says that it is meant (defect 24)", async () => {
  await start({ aws: 1, gcp: 1 });
  expect(await promote("gcp", true)).toMatchObject({
    ok: false,
    message: expect.stringMatching(/aws is alive: use 'mirrorfs switchover --to gcp', .*--even-if-alive/),
  });
  expect((await volume.leader("gcp")).role).toBe("mirror");
  expect(await promote("gcp", true, true)).toMatchObject({ ok: true });
  expect((await volume.leader("gcp")).role).toBe("primary");
});

test("a primary that is alive has ended its epoch before a promotion that is meant all the same begins one", async () => {
  const client = await start({ aws: 1, gcp: 1 });
  await client.make(1, "acknowledged");
  expect(await promote("gcp", true, true)).toMatchObject({ ok: true });
  const aws = await volume.leader("aws");
  expect(["fenced", "mirror"], "at once, not when it hears of the promotion").toContain(aws.role);
  expect((await client.mutate(makeCommand(1, "no"))).status).not.toBe(Status.OK);
});

test("an epoch is ended for a later one of the same volume alone", async () => {
  await start({ aws: 1, gcp: 1 });
  const { uuid, version } = await volume.leader("aws");
  const end = (request: object) => ask<AdminAnswer>("aws", "end", { uuid, region: "gcp", epoch: 257, ...request });
  expect(await end({ uuid: "another" })).toMatchObject({ ok: false, message: expect.stringMatching(/another uuid/) });
  expect(await end({ epoch: version!.epoch })).toMatchObject({
    ok: false,
    message: expect.stringMatching(/epoch 1 has begun/),
  });
  expect((await volume.leader("aws")).role).toBe("primary");
  expect(await end({})).toMatchObject({ ok: true });
  expect((await volume.leader("aws")).role).toBe("fenced");
});

test("A promotion is refused while the primary, or one that is about to be, is within reach, also of the command line: what only that reaches it must end first", async () => {
  const client = await start({ aws: 1, gcp: 1 });
  await client.make(1, "acknowledged");
  const { uuid, version } = await volume.leader("aws");
  await volume.leader("gcp", (status) => status.version!.sequence >= version!.sequence);
  await volume.stop("aws");
  const alive = { uuid, region: "aws", version, chain: [], state: "primary", sealedTo: "", fence: 0 };
  const found = { confirmed: [alive] };
  expect((await promote("gcp", true, false, found)).message).toContain("aws is alive");
  const sealed = { confirmed: [{ ...alive, region: "azure", state: "mirror", sealedTo: "azure" }] };
  expect((await promote("gcp", true, false, sealed)).message).toContain("azure is about to become the primary");
  const answer = await promote("gcp", true, true, found);
  expect(answer).toMatchObject({ ok: false, toEnd: ["aws"] });
  expect((await volume.leader("gcp")).role).toBe("mirror");
  const fenced = { ...alive, state: "fenced", fence: answer.epoch };
  expect(await promote("gcp", true, true, { confirmed: [fenced] })).toMatchObject({ ok: true });
  expect((await volume.leader("gcp")).version!.epoch).toBeGreaterThan(answer.epoch);
});

test("an old primary that acknowledged nothing after the fork follows without intervention", async () => {
  await start({ aws: 1, gcp: 1 });
  await until("one state", async () => {
    const both = [await volume.leader("aws"), await volume.leader("gcp")];
    return both[0]!.version!.sequence === both[1]!.version!.sequence || undefined;
  });
  await volume.stop("aws");
  expect((await promote("gcp", true)).ok).toBe(true);
  await volume.start("aws");
  await volume.leader("aws", (status) => status.role === "mirror");
  await until("one state", async () => {
    const both = [await volume.leader("aws"), await volume.leader("gcp")];
    return both[0]!.stateHash === both[1]!.stateHash || undefined;
  });
});

test("A fenced region follows the latest epoch within reach, not only the one that it was fenced for", async () => {
  await start({ aws: 1, gcp: 1 });
  const { version, uuid } = await volume.leader("aws");
  const level = version!.sequence;
  await volume.leader("gcp", (status) => status.version!.sequence >= level);
  // As if gcp had begun an epoch that is lost again: nobody is in it when aws looks for it.
  const { confirmAll } = Regions.prototype;
  const lies = vi.spyOn(Regions.prototype, "confirmAll").mockImplementation(async function (this: Regions) {
    if (this.others[0] !== "gcp") return confirmAll.call(this);
    const lost = { uuid, region: "gcp", chain: [], state: "primary", sealedTo: "", fence: 0 };
    const at = { epoch: version!.epoch + 17, sequence: level + 1 };
    return { confirmed: new Map([["gcp", { ...lost, version: at }]]), missing: new Map() };
  });
  await volume.leader("aws", ({ role }) => role === "fenced");
  lies.mockRestore();
  expect(await promote("gcp", true, true)).toMatchObject({ ok: true });
  await volume.leader("aws", ({ role }) => role === "mirror");
});

test("A hint of a later epoch fences nobody: it makes a region ask the others, at most once a second", async () => {
  const rounds = vi.spyOn(Regions.prototype, "confirmAll");
  const client = await start({ aws: 1, gcp: 1 });
  await volume.stop("gcp");
  const { address, version, uuid } = await volume.leader("aws");
  const seen = { epoch: version!.epoch + 16 * 1_000, sequence: version!.sequence + 5 };
  const roundsOf = async (hint: { uuid: string }) => {
    await until("a round of questions", () => rounds.mock.calls.length > 0 || undefined);
    rounds.mockClear();
    for (let i = 0; i < 9; i += 1) {
      const liar = new RawClient(address, { seen, ...hint });
      clients.push(liar);
      await liar.welcome;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return rounds.mock.calls.length;
  };
  rounds.mockClear();
  const own = await roundsOf({ uuid: "of another volume" });
  expect(own, "without a hint it asks every two seconds").toBeLessThanOrEqual(1);
  rounds.mockClear();
  const hinted = await roundsOf({ uuid });
  expect(hinted).toBeGreaterThanOrEqual(1);
  expect(hinted, "in 1.8 s").toBeLessThanOrEqual(2);
  expect((await volume.leader("aws")).role).toBe("primary");
  expect((await client.mutate(makeCommand(1, "goes on"))).status).toBe(Status.OK);
});
