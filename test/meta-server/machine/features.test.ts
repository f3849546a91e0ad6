import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openGroup } from "../../../consensus/raft-group.ts";
import type { Transport } from "../../../consensus/transport/transport.ts";
import { encodeCommand, encodeFollowed, encodeProposed } from "../../../core/codec.ts";
import type { Command } from "../../../core/commands.ts";
import type { EpochCode, RegionIndex, SessionId } from "../../../core/ids.ts";
import { encodeLocal } from "../../../meta-server/machine/local-entries.ts";
import { Machine } from "../../../meta-server/machine/machine.ts";
import { openDataDirectory } from "../../../meta-server/storage/data-directory.ts";
import { until } from "../../support/until.ts";
import { makeCommand } from "../raw-client.ts";

const REASON = "the volume is at feature level 2, and this program supports 1: use a newer program";
const IDENTITY = { volume: "v", region: "aws", member: 1 };
const format = (features: number): Command => ({
  kind: "format",
  uuid: "u",
  volume: "v",
  regions: ["aws", "gcp"],
  primary: 0 as RegionIndex,
  features,
});

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-features-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function open(supports: number, name = "data") {
  const { log, state } = await openDataDirectory(join(directory, name), IDENTITY);
  const onError = (error: Error) => {
    throw error;
  };
  try {
    const machine = await Machine.open(state, { region: "aws", retain: { hours: 1, gib: 1 }, supports, onError });
    return { log, machine };
  } catch (error) {
    await log.close();
    await state.close();
    throw error;
  }
}

function encode(command: Command, epoch = 16): Buffer {
  const now = { seconds: 1, nanoseconds: 0 };
  const stamp = { epoch: epoch as EpochCode, now, session: 0 as SessionId, request: 0, lowWater: 0 };
  return Buffer.from(encodeProposed(stamp, encodeCommand(command)));
}

/** A group of one member, without a network. */
async function openMember(supports: number) {
  const { log, machine } = await open(supports);
  const fatal: Error[] = [];
  const transport: Transport = {
    start: () => {},
    setPeers: () => {},
    send: () => {},
    sendSnapshot: () => Promise.reject(new Error("no network")),
    stop: async () => {},
  };
  const members = [{ id: 1, address: "nowhere:1" }];
  const onFatal = (error: Error) => fatal.push(error);
  const logger = pino({ level: "silent" });
  const group = await openGroup({ members, self: 1, log, machine, transport, logger, onFatal });
  await until("the member to lead", () => group.leading || undefined);
  const propose = (data: Uint8Array) => new Promise((done) => group.propose(data, done));
  return { group, machine, fatal, propose };
}

test("a server stops in the midst of its work before it applies a level that it does not know, and again at each start", async () => {
  const newer = await openMember(2);
  await newer.propose(encode(format(1), 0));
  await newer.propose(encode(makeCommand(1, "before")));
  const { version } = newer.machine;
  await newer.group.stop();

  const older = await openMember(1);
  expect(older.machine.version).toEqual(version);
  void older.propose(encode({ kind: "setFeatures", level: 2 }));
  void older.propose(encode(makeCommand(1, "after")));
  await until("the older server to stop", () => (older.fatal.length > 0 ? true : undefined));
  expect(older.fatal.map(({ message }) => message)).toEqual([REASON]);
  expect([older.group.leading, older.machine.version, older.machine.tree.features]).toEqual([false, version, 1]);
  await older.group.stop();

  const again = await open(1);
  expect([again.machine.version, again.machine.tree.features]).toEqual([version, 1]);
  await again.log.close();
  await again.machine.close();

  const updated = await openMember(2);
  await until("the level to be applied", () => updated.machine.tree.features === 2 || undefined);
  expect(updated.machine.version.sequence).toBe(version.sequence + 2);
  await updated.group.stop();
  await expect(open(1)).rejects.toMatchObject({ message: REASON, exitCode: 2 });
});

test.each(["a format", "a followed command", "a snapshot of the primary", "a snapshot of a member"])(
  "nor does it apply that level in %s",
  async (how) => {
    const { log, machine } = await open(2, "newer");
    const apply = (to: Machine, index: number, data: Uint8Array) =>
      to.apply([{ index, term: 1, kind: "application", data }]);
    apply(machine, 1, encode(format(1), 0));
    apply(machine, 2, encode({ kind: "setFeatures", level: 2 }));
    const older = await open(1, "older");
    if (how === "a format") {
      expect(() => apply(older.machine, 1, encode(format(2), 0))).toThrow(REASON);
    } else if (how === "a followed command") {
      apply(older.machine, 1, encode(format(1), 0));
      const body = encode({ kind: "setFeatures", level: 2 }).subarray(1);
      expect(() => apply(older.machine, 2, encodeFollowed(older.machine.version, body))).toThrow(REASON);
    } else if (how === "a snapshot of the primary") {
      const { pages, release } = await machine.volumeSnapshot();
      for await (const pairs of pages) {
        const data = encodeLocal({ kind: "load", generation: 2, nowMs: 0, pairs });
        expect(() => apply(older.machine, 1, data)).toThrow(REASON);
        break; // the volume's record comes first
      }
      await release();
    } else {
      const { parts, release } = await machine.snapshot();
      await expect(older.machine.restore({ index: 2, term: 1 }, parts)).rejects.toThrow(REASON);
      await release();
    }
    for (const one of [{ log, machine }, older]) {
      await one.log.close();
      await one.machine.close();
    }
  },
);
