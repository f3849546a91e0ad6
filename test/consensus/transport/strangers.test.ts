import { Client, type ClientDuplexStream } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeConfiguration, firstConfiguration } from "../../../consensus/raft/configuration.ts";
import { makeEntry } from "../../../consensus/raft/entry.ts";
import { channelCredentials } from "../../../proto/credentials.ts";
import {
  type RaftHello,
  type RaftMessage,
  RaftPeersClient,
  RaftPeersService,
  type RaftWelcome,
  type SnapshotFrame,
  type SnapshotProgress,
} from "../../../proto/generated/raft.ts";
import { until } from "../../support/until.ts";
import { Cluster, propose } from "../support/cluster.ts";

// Streams and messages on the peers' port that no correct member sends are refused, logged and counted, and the server continues.

let cluster: Cluster;
let target: number;
let client: RaftPeersClient;
let raw: Client;
const UUID = "11111111-1111-1111-1111-111111111111";

beforeAll(async () => {
  cluster = await Cluster.start(3);
  for (const id of [1, 2, 3]) await cluster.running.get(id)!.stop();
  await Promise.all([1, 2, 3].map((id) => cluster.startMember(id, { cluster: () => UUID })));
  const leader = await cluster.leader();
  for (let i = 0; i < 20; i++) await propose(leader.group, `a${i}`);
  target = leader.id === 1 ? 2 : 1;
  client = new RaftPeersClient(cluster.addressOf(target), channelCredentials());
  raw = new Client(cluster.addressOf(target), channelCredentials(), { "grpc.max_send_message_length": -1 });
});

afterAll(async () => {
  client.close();
  raw.close();
  await cluster.stop();
});

const group = () => cluster.running.get(target)!.group;

function hello(change: Partial<RaftHello> = {}): RaftHello {
  return { format: 3, volume: "v", region: "r", cluster: UUID, from: 9, to: target, address: "", life: 1, ...change };
}

/** The refusals received on one stream that sends this hello and then the frames; "" is an acceptance. */
async function exchange(first: RaftHello | undefined, ...frames: RaftMessage[][]): Promise<string[]> {
  const stream = client.exchange();
  const refusals: string[] = [];
  const ended = Promise.withResolvers<void>();
  stream.on("data", ({ refusal }: RaftWelcome) => {
    refusals.push(refusal);
    if (refusal !== "") return;
    for (const messages of frames) stream.write({ hello: undefined, messages });
    stream.end();
  });
  stream.on("error", () => undefined);
  stream.on("status", () => ended.resolve());
  stream.write({ hello: first, messages: [] });
  await ended.promise;
  stream.cancel();
  return refusals;
}

/** Checks that what `act` sends is counted as refused under `kind`, and that the group works as before. */
async function isRefused(kind: string, act: () => Promise<unknown>): Promise<void> {
  const before = group().refused[kind] ?? 0;
  const { term } = group().status();
  await act();
  const isUndisturbed = () => {
    expect(group().status().term).toBe(term);
    for (const { fatal } of cluster.running.values()) expect(fatal).toEqual([]);
  };
  await until(`a refusal: ${kind}`, () => {
    isUndisturbed(); // at once, if it was accepted
    return (group().refused[kind] ?? 0) > before || undefined;
  });
  const leader = await cluster.leader();
  expect(await propose(leader.group, `after ${kind}`)).toMatchObject({ ok: true });
  isUndisturbed();
}

test.each([
  ["volume", { volume: "other" }, /belongs to volume other/],
  ["volume", { cluster: "22222222-2222-2222-2222-222222222222" }, /belongs to the volume with uuid 2222/],
  ["region", { region: "elsewhere" }, /belongs to region elsewhere/],
  ["format", { format: 2 }, /speaks raft format 2/],
  ["member", { to: 7 }, /looks for member 7/],
] as const)("a hello of another %s", async (kind, change, line) => {
  await isRefused(kind, async () => expect(await exchange(hello(change))).toEqual([expect.stringMatching(line)]));
});

test("a hello with this server's own id, and a stream without a hello", async () => {
  await isRefused("member", async () => expect(await exchange(hello({ from: target }))).toHaveLength(1));
  await isRefused("malformed", async () => expect(await exchange(undefined)).toEqual(["sent no hello"]));
});

test("another process with the id of a connected member", async () => {
  const leader = await cluster.leader();
  const other = leader.id === target ? [1, 2, 3].find((id) => id !== target)! : leader.id;
  await isRefused("member", async () =>
    expect(await exchange(hello({ from: other, life: 77 }))).toEqual([
      expect.stringContaining("as does another server"),
    ]),
  );
});

const message = (body: RaftMessage["body"], term = group().status().term): RaftMessage => ({ term, body });
const append = (index: number, term: number, entries: Buffer[]): RaftMessage["body"] => ({
  $case: "append",
  value: { previousIndex: index, previousTerm: term, commit: 0, entries },
});
const encoded = (index: number, term: number) =>
  makeEntry(index, term, "application", Buffer.from("x")).encoded as Buffer;

test.each([
  ["an implausible term", "term", () => message({ $case: "timeoutNow", value: true }, 2 ** 40)],
  ["a message without a body", "malformed", () => message(undefined)],
  ["an index that is not an integer", "malformed", () => message({ $case: "appendAccepted", value: 1.5 })],
  ["a negative term", "malformed", () => message({ $case: "timeoutNow", value: true }, -1)],
  ["an entry of an unknown kind", "malformed", () => message(append(0, 0, [Buffer.from([9, 0, 0, 0, 0, 0, 1])]))],
  ["an entry cut short", "malformed", () => message(append(0, 0, [Buffer.from([2, 0])]))],
  ["entries with decreasing terms", "malformed", () => message(append(0, 0, [encoded(1, 1), encoded(2, 0)]))],
  ["an entry of a later term than its leader's", "malformed", () => message(append(0, 0, [encoded(1, 1e6)]))],
  ["an invalid configuration", "malformed", () => message(append(0, 0, [badMembers()]))],
  [
    "a second leader of this term",
    "impossible",
    () => message({ $case: "heartbeat", value: { commit: 0, committed: 0, round: 1 } }),
  ],
  [
    "entries that conflict with committed ones",
    "impossible",
    () => message(append(1, 1, [encoded(2, 1), encoded(3, 2)]), 2),
  ],
  ["a frame above the size limit", "oversized", () => message(append(0, 0, [Buffer.alloc(17 << 20)]))],
])("%s", async (_, kind, make) => {
  await isRefused(kind, () => exchange(hello(), [make()]));
});

function badMembers(): Buffer {
  const twice = [1, 1].map((id) => ({ id, address: "a:1", learner: false }));
  const data = encodeConfiguration({ index: 0, members: twice, nextId: 4 });
  return makeEntry(1, 1, "configuration", data).encoded as Buffer;
}

test("a frame that is not protobuf", async () => {
  const { path } = RaftPeersService.exchange;
  const identity = (bytes: Buffer) => bytes;
  await isRefused("malformed", async () => {
    const stream: ClientDuplexStream<Buffer, Buffer> = raw.makeBidiStreamRequest(path, identity, identity);
    stream.on("error", () => undefined);
    const ended = new Promise((done) => stream.on("status", done));
    stream.write(Buffer.from("ff".repeat(40), "hex"));
    await ended;
  });
});

type Body = NonNullable<SnapshotFrame["body"]>;

async function install(
  change: Partial<RaftHello>,
  at: { index: number; term: number },
  ...bodies: Body[]
): Promise<string> {
  const stream = client.install();
  const refusal = Promise.withResolvers<string>();
  stream.on("data", (progress: SnapshotProgress) => {
    if (progress.refusal !== "") refusal.resolve(progress.refusal);
  });
  stream.on("error", () => undefined);
  stream.on("status", () => refusal.resolve(""));
  const configuration = encodeConfiguration(firstConfiguration([{ id: 1, address: "a:1" }])) as Buffer;
  const { term, leader } = group().status();
  const value = {
    hello: hello({ from: leader, ...change }),
    term,
    at,
    configuration,
    configurationIndex: 0,
    transfer: 5,
  };
  stream.write({ body: { $case: "begin", value } });
  for (const body of bodies) stream.write({ body });
  const refused = await refusal.promise;
  stream.cancel();
  return refused;
}

test("a snapshot of another volume, one of a later term than its leader's, and one with missing parts", async () => {
  const at = { index: 10_000, term: 1 };
  const end: Body = { $case: "end", value: { parts: 2 } };
  await isRefused("volume", () => install({ volume: "other", from: 9 }, at));
  await isRefused("snapshot", () => install({ from: 9 }, { index: 10_000, term: 999 }));
  await isRefused("snapshot", () => install({ from: 9 }, at, end));
  const leader = await cluster.leader();
  expect(await propose(leader.group, "last")).toMatchObject({ ok: true });
  await until("the server to catch up", () => group().status().applied >= leader.group.status().applied || undefined);
});
