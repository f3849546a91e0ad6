import { Server, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { callLeader } from "../../admin/client.ts";
import { volumeStatus } from "../../admin/volume-status.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { serverCredentials } from "../../proto/credentials.ts";
import { AdminService, PromoteAnswer, PromoteRequest, RegionStatus } from "../../proto/generated/admin.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.forceShutdown();
});

type Failure = Partial<ServiceError>;

/** A leader that answers every status with `leads`, and each further call with the next of `failures`, the last one repeatedly. */
async function leader(failures: readonly (Failure | undefined)[], statusFailure?: Failure) {
  let calls = 0;
  const answer = (_: unknown, done: (error: Failure | null, answer?: unknown) => void) => {
    const failure = failures[Math.min(calls++, failures.length - 1)];
    if (failure === undefined) done(null, PromoteAnswer.fromPartial({ ok: true }));
    else done(failure);
  };
  const server = new Server();
  servers.push(server);
  server.addService(AdminService, {
    status: (_: unknown, done: (error: Failure | null, answer?: RegionStatus) => void) =>
      statusFailure ? done(statusFailure) : done(null, RegionStatus.fromPartial({ isLeader: true })),
    info: answer,
    promote: answer,
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", serverCredentials(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  const address = `127.0.0.1:${port}`;
  const region = { name: "aws", meta: [address], bucket: "file:///b", queue: "redis://127.0.0.1:1" };
  const volume = { volume: "v", regions: new Map([["aws", region]]), primary: "aws" } as unknown as VolumeDescription;
  return { volume, region, address, calls: () => calls };
}

const LOST = { code: status.UNAVAILABLE, details: "Connection dropped" };
const NOT_LEADER = { code: status.UNAVAILABLE, details: "aws/1 is not the leader" };
const promotion = PromoteRequest.fromPartial({ volume: "v", force: true });

test("a change whose outcome is unknown is not repeated, and the error says how to look (defect 25)", async () => {
  for (const failure of [LOST, { code: status.DEADLINE_EXCEEDED, details: "Deadline exceeded" }]) {
    const { volume, region, calls } = await leader([failure]);
    await expect(callLeader(volume, region, "promote", promotion, 2_000)).rejects.toThrow(
      /it is not known whether the change was made: look with 'mirrorfs status'/,
    );
    expect(calls()).toBe(1);
  }
});

test("a change that a member refused because it does not lead is sent again (defect 25)", async () => {
  const { volume, region, calls } = await leader([NOT_LEADER, NOT_LEADER, undefined]);
  expect(await callLeader(volume, region, "promote", promotion, 2_000)).toMatchObject({ ok: true });
  expect(calls()).toBe(3);
});

test("a leader that answers status and fails every call ends the retries of a read (defect 25)", async () => {
  const { volume, region, address, calls } = await leader([LOST]);
  await expect(callLeader(volume, region, "info", { volume: "v", path: "/" }, 2_000)).rejects.toThrow(
    `region aws: its leader ${address} answers status, but not this call`,
  );
  expect(calls()).toBeGreaterThan(2);
}, 20_000);

test("a server of another volume is named, in place of silence (defect 25)", async () => {
  const other = { code: status.FAILED_PRECONDITION, details: "this is volume w, not v" };
  const { volume, region, address } = await leader([undefined], other);
  const said = `${address}: this is volume w, not v: correct the volume's name or the address in the volume file`;
  expect((await volumeStatus(volume)).regions.aws!.message).toBe(said);
  const startedMs = Date.now();
  await expect(callLeader(volume, region, "promote", promotion, 2_000)).rejects.toMatchObject({
    message: `region aws: ${said}`,
    exitCode: 2,
  });
  expect(Date.now() - startedMs).toBeLessThan(5_000);
});
