import { expect, test, vi } from "vitest";
import { type EpochCode, epochCode, type RegionIndex, type Sequence } from "../../../core/ids.ts";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { promote } from "../../../meta-server/roles/epochs/promotion.ts";
import { switchover } from "../../../meta-server/roles/epochs/switchover.ts";
import { StatusReport } from "../../../meta-server/services/admin/status.ts";
import type { RegionStatus } from "../../../proto/generated/admin.ts";

const version = { epoch: epochCode(1, 0 as RegionIndex) as EpochCode, sequence: 9 as Sequence };

function contextOf(region: string, role: string, diverged?: object) {
  const internal = vi.fn();
  const machine = {
    role,
    state: diverged === undefined ? role : "diverged",
    version,
    primary: "aws",
    regionIndex: 1,
    tree: { volume: { regions: [{ name: "aws" }, { name: "gcp" }] } },
    facts: { diverged, fence: 0, heard: version, totals: { slices: 0 } },
  };
  const logger = { warn: vi.fn() };
  return { context: { machine, region, proposer: { internal }, logger } as unknown as ServerContext, internal };
}

test("a switchover to a mirror whose state differs is refused before the epoch is sealed, with the reason (defect 16)", async () => {
  const { context, internal } = contextOf("aws", "primary");
  const message = "stopped following: the state hash differs";
  const status = { role: "diverged", leader: "gcp:1", version, message, pendingBlocks: 0 } as unknown as RegionStatus;
  const confirmed = { answer: { region: "gcp", state: "diverged", version }, address: "gcp:1" };
  const regions = { ask: async () => status, confirm: async () => confirmed };
  const sources = { regions, keeper: { isCleared: true } } as never;
  const answer = await switchover(context, sources, { to: "gcp", complete: false, timeoutMs: 1 });
  expect(answer).toEqual({
    ok: false,
    message: `gcp cannot take over: its role is diverged, not mirror (${message})`,
  });
  expect(internal).not.toHaveBeenCalled();
});

test("a mirror whose state differs says so in its status: its role is diverged (defect 16)", async () => {
  const { context } = contextOf("gcp", "mirror", { sequence: 8, own: "a", primary: "b" });
  const membership = { members: [], leader: 0, membership: "voter", applied: 9, commit: 9 };
  const group = { status: () => membership, member: { id: 1 }, refused: {}, leading: true };
  Object.assign(context, { group, volume: { volume: "test" } });
  const parts = { agents: {}, keeper: {}, follower: {}, refusedClients: { counts: {} } };
  const status = await new StatusReport(context, parts as never).make();
  expect(status).toMatchObject({ role: "diverged", message: expect.stringContaining("at sequence 8") });
});

test("a mirror whose state differs is not promoted, whatever the flags (defect 16)", async () => {
  const { context, internal } = contextOf("gcp", "mirror", { sequence: 8, own: "a", primary: "b" });
  const sources = { regions: {}, follower: { suspend() {}, resume() {} } } as never;
  const answer = await promote(context, sources, {
    force: true,
    evenIfAlive: true,
    discard: ["aws"],
    confirmed: [],
    applied: [],
  });
  expect(answer).toEqual({
    ok: false,
    message: "gcp cannot be promoted: its state differs from the primary's ('mirrorfs status' says what to do)",
  });
  expect(internal).not.toHaveBeenCalled();
});
