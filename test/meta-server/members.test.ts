import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { encodeCommand, encodeFollowed, encodeProposed } from "../../core/codec.ts";
import type { EpochCode, RegionIndex, Sequence, SessionId } from "../../core/ids.ts";
import { Machine } from "../../meta-server/machine/machine.ts";
import { runMetaServer } from "../../meta-server/main.ts";
import { openDataDirectory } from "../../meta-server/storage/data-directory.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { until } from "../support/until.ts";
import { logger, TestVolume } from "./harness.ts";
import { RawClient } from "./raw-client.ts";

let volume: TestVolume;
let blocker: Server | undefined;

afterEach(async () => {
  await new Promise<void>((resolve) => (blocker === undefined ? resolve() : blocker.close(() => resolve())));
  blocker = undefined;
  await volume.close();
});

test("a member that was away for longer than the log is brought up by a snapshot, and can lead", async () => {
  const groupTuning = { keepEntries: 50, keepForSlowEntries: 50, cutStep: 50 };
  volume = await TestVolume.create(
    { aws: 3 },
    { changelog: { retainHours: 0, retainGib: 0 }, servers: { groupTuning } },
  );
  await volume.start("aws");
  const { address, member } = await volume.leader("aws", (status) => status.role === "primary");
  const client = new RawClient(address);
  expect((await client.open()).status).toBe(Status.OK);
  const away = (member % 3) + 1;
  await volume.stop("aws", away);
  await Promise.all(Array.from({ length: 1_500 }, (_, i) => client.make(1, `f${i}`)));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await client.make(1, "last");
  client.close();
  const restored = vi.spyOn(Machine.prototype, "restore");
  await volume.start("aws", away);
  const awayAddress = volume.volume.regions.get("aws")!.meta[away - 1]!;
  await until("one state", async () => {
    const [a, b] = await Promise.all([volume.status(address), volume.status(awayAddress)]);
    return a.stateHash === b.stateHash && a.version!.sequence === b.version!.sequence ? true : undefined;
  });
  expect(restored).toHaveBeenCalledOnce();
  restored.mockRestore();
  for (const other of [1, 2, 3].filter((one) => one !== away && one !== member)) await volume.stop("aws", other);
  await volume.stop("aws", member);
  await volume.start("aws", member);
  const next = await volume.leader("aws", (status) => status.role === "primary");
  const reader = new RawClient(next.address);
  await reader.welcome;
  expect(await reader.lookup(1, "last")).toMatchObject({ kind: "file" });
  reader.close();
});

test("a port in use, the data directory of another server, an unknown region or member: one clear line each", async () => {
  volume = await TestVolume.create({ aws: 2 });
  const run = (region: string, member: number, dataDir: string) =>
    runMetaServer({ volume: volume.volume, region, member, dataDir: join(volume.directory, dataDir), logger });
  const port = Number(volume.volume.regions.get("aws")!.meta[0]!.split(":")[1]);
  blocker = createServer();
  await new Promise<void>((resolve) => blocker!.listen(port, "127.0.0.1", resolve));
  await expect(run("aws", 1, "one")).rejects.toMatchObject({
    name: "UserError",
    exitCode: 1,
    message: expect.stringContaining(`127.0.0.1:${port}: the port is in use`),
  });
  await expect(run("aws", 2, "one")).rejects.toMatchObject({ name: "UserError", exitCode: 2 });
  await expect(run("gcp", 1, "two")).rejects.toMatchObject({ message: "volume test has no region gcp", exitCode: 2 });
  await expect(run("aws", 3, "two")).rejects.toMatchObject({
    message: expect.stringContaining("members 1, 2, not 3"),
    exitCode: 2,
  });
});

test("A command with a gap before it, of another history, or that comes twice changes nothing", async () => {
  volume = await TestVolume.create({ aws: 1, gcp: 1 });
  const identity = { volume: "test", region: "gcp", member: 1 };
  const { log, state } = await openDataDirectory(join(volume.directory, "machine"), identity);
  const onError = (error: Error) => {
    throw error;
  };
  const machine = await Machine.open(state, { region: "gcp", retain: { hours: 1, gib: 1 }, onError });
  const stamp = (epoch: number, seconds: number) => ({
    epoch: epoch as EpochCode,
    now: { seconds, nanoseconds: 0 },
    session: 0 as SessionId,
    request: 0,
    lowWater: 0,
  });
  const body = (epoch: number, command: Parameters<typeof encodeCommand>[0]) =>
    encodeProposed(stamp(epoch, 1), encodeCommand(command)).subarray(1);
  const version = (epoch: number, sequence: number) => ({ epoch: epoch as EpochCode, sequence: sequence as Sequence });
  const format = body(0, {
    kind: "format",
    uuid: "u",
    volume: "test",
    regions: ["aws", "gcp"],
    primary: 0 as RegionIndex,
    features: 1,
  });
  const open = body(16, { kind: "openSession", session: 5 as SessionId, client: "c", region: 0 as RegionIndex });
  const refusals = [
    encodeFollowed(version(0, 0), format),
    encodeFollowed(version(16, 1), open),
    encodeFollowed(version(16, 1), open),
    encodeFollowed(version(16, 3), open),
    encodeFollowed(version(15, 2), open),
  ].map((data, i) => {
    const [applied] = machine.apply([{ index: i + 1, term: 1, kind: "application", data }]);
    return (applied as { refusal?: string }).refusal;
  });
  expect(refusals).toEqual([undefined, undefined, "duplicate", "gap", "fork"]);
  expect(machine.version).toEqual(version(16, 2));
  await log.close();
  await machine.close();
});
