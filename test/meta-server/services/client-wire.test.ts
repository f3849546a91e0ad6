import { type ClientDuplexStream, makeGenericClientConstructor, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { encodeCommand } from "../../../core/codec.ts";
import { channelCredentials } from "../../../proto/credentials.ts";
import { ClientFrame, Freshness, MetadataService, type Request, Status } from "../../../proto/generated/metadata.ts";
import { until } from "../../support/until.ts";
import { TestVolume } from "../harness.ts";
import { makeCommand, RawClient } from "../raw-client.ts";

let volume: TestVolume;
let address: string;
let client: RawClient;

beforeEach(async () => {
  volume = await TestVolume.create({ aws: 1 });
  await volume.start("aws");
  ({ address } = await volume.leader("aws", ({ role }) => role === "primary"));
  client = new RawClient(address);
  await until("a session", async () => ((await client.open()).status === Status.OK ? true : undefined));
});

afterEach(async () => {
  client.close();
  await volume.close();
});

/** The server still answers a valid request. */
async function stillServes(): Promise<void> {
  expect(await client.lookup(1, "nothing")).toBe("ENOENT");
}

const refused = async () => (await volume.status(address)).refused;

/** Sends bytes that need not be valid frames. @returns the error with which the stream ended */
async function send(...frames: readonly Uint8Array[]): Promise<ServiceError> {
  const session = { ...MetadataService.session, requestSerialize: (bytes: Buffer) => bytes };
  const Raw = makeGenericClientConstructor({ session } as never, "Metadata");
  const raw = new Raw(address, channelCredentials(), { "grpc.max_send_message_length": -1 });
  const stream = (raw as unknown as { session(): ClientDuplexStream<Uint8Array, unknown> }).session();
  const ended = new Promise<ServiceError>((resolve) => stream.on("error", (error) => resolve(error as ServiceError)));
  stream.on("data", () => {});
  for (const frame of frames) stream.write(Buffer.from(frame));
  const error = await ended;
  raw.close();
  return error;
}

const hello = { volume: "test", region: "", client: "raw", session: 7, seen: undefined, uuid: "", open: [] };
const helloFrame = (changed: object) => ClientFrame.encode({ hello: { ...hello, ...changed }, requests: [] }).finish();

const nothing = ClientFrame.encode({ hello: undefined, requests: [] }).finish();

test.each<[string, () => Uint8Array[], string]>([
  ["to another volume", () => [helloFrame({ volume: "other" })], "client-volume"],
  ["that does not begin with a hello", () => [nothing], "client-malformed"],
  ["that sends two hellos", () => [helloFrame({}), helloFrame({})], "client-malformed"],
  ["whose session is not a number", () => [helloFrame({ session: Number.NaN })], "client-malformed"],
  ["that is not protobuf", () => [helloFrame({}), Buffer.alloc(100, 0xff)], "client-malformed"],
  ["with a frame that is too large", () => [helloFrame({}), Buffer.alloc(33 << 20)], "client-oversized"],
])("a stream %s is ended with one line and counted, and the server still serves", async (_, frames, counted) => {
  const error = await send(...frames());
  expect(error.code).toBe(status.FAILED_PRECONDITION);
  expect(error.details).not.toContain("\n");
  expect(await refused()).toEqual({ [counted]: 1 });
  await stillServes();
});

const name = Buffer.from("n");
const bad = [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, 2 ** 53, 1e300];
const command = Buffer.from(encodeCommand(makeCommand(1, "never")));

test.each<[string, (n: number) => NonNullable<Request["body"]>]>([
  ["mutate", (request) => ({ $case: "mutate", value: { request, lowWater: 0, command, wait: false } })],
  ["mutate's low water", (lowWater) => ({ $case: "mutate", value: { request: 1, lowWater, command, wait: false } })],
  ["lookup", (parent) => ({ $case: "lookup", value: { parent, name } })],
  ["readDirectory", (inode) => ({ $case: "readDirectory", value: { inode, after: name, limit: 1, attributes: true } })],
  ["readChunks", (inode) => ({ $case: "readChunks", value: { inode, first: 0, count: 1 } })],
  ["readChunks' first", (first) => ({ $case: "readChunks", value: { inode: 1, first, count: 64 } })],
  [
    "open's belief",
    (parent) => ({ $case: "open", value: { inode: 1, beliefs: [{ parent, name, inode: 1 }], chunks: 1 } }),
  ],
  ["release", (inode) => ({ $case: "release", value: { inode, handles: 1 } })],
  [
    "getLock",
    (start) => ({ $case: "getLock", value: { inode: 1, table: "posix", owner: "o", mode: "read", start, end: 9 } }),
  ],
  ["wantBlocks", (slice) => ({ $case: "wantBlocks", value: { slices: [slice] } })],
])("an invalid number in %s is EINVAL and counted", async (_, bodyOf) => {
  for (const number of bad) expect(await client.ask(bodyOf(number))).toMatchObject({ error: "EINVAL" });
  expect(await refused()).toEqual({ "client-malformed": bad.length });
  await stillServes();
});

test("an invalid token, a request of no kind, and a change without a session are EINVAL", async () => {
  const lookup = { $case: "lookup", value: { parent: 1, name } } as const;
  const answer = await client.ask(lookup, Freshness.TOKEN, { epoch: 16.5, sequence: 1 });
  expect(answer).toMatchObject({ error: "EINVAL" });
  expect(await client.ask(undefined as never)).toMatchObject({ error: "EINVAL" });
  const anonymous = new RawClient(address, { session: 0 });
  expect(await anonymous.mutate(makeCommand(1, "never"))).toMatchObject({ error: "EINVAL" });
  anonymous.close();
  expect(await refused()).toEqual({ "client-malformed": 3 });
  expect(await client.lookup(1, "never")).toBe("ENOENT");
});

test("an invalid or oversized command changes nothing", async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from([255, 1, 2]), Buffer.alloc(5 << 20, command)]) {
    const value = { request: 1, lowWater: 0, command: bytes, wait: false };
    expect(await client.ask({ $case: "mutate", value })).toMatchObject({ error: "EINVAL" });
  }
  await stillServes();
});

test("a client that knows only an earlier epoch reads the current state", async () => {
  const { version } = await volume.leader("aws");
  const old = { epoch: version!.epoch - 16, sequence: version!.sequence };
  const late = new RawClient(address, { seen: old });
  const answer = await late.ask({ $case: "getAttributes", value: { inode: 1 } }, Freshness.TOKEN, old);
  expect(answer.status).toBe(Status.OK);
  expect(answer.version!.epoch).toBe(version!.epoch);
  late.close();
});
