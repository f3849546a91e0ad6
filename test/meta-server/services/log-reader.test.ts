import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Group, GroupEntry } from "../../../consensus/group.ts";
import { decodeEntry, encodeCommand, encodeFollowed, encodeProposed } from "../../../core/codec.ts";
import type { Command } from "../../../core/commands.ts";
import {
  epochCode,
  NO_VERSION,
  type RegionIndex,
  type Sequence,
  type SessionId,
  type Version,
} from "../../../core/ids.ts";
import { CHECKPOINT_EVERY } from "../../../meta-server/machine/checkpoints.ts";
import { encodeLocal, type LocalEntry } from "../../../meta-server/machine/local-entries.ts";
import { REFUSED_ENTRY_PREFIX } from "../../../meta-server/machine/local-keys.ts";
import { type Applied, Machine } from "../../../meta-server/machine/machine.ts";
import { LogReader } from "../../../meta-server/services/changelog/log-reader.ts";
import { type DataDirectory, openDataDirectory } from "../../../meta-server/storage/data-directory.ts";
import { makeCommand } from "../raw-client.ts";

const AWS = 0 as RegionIndex;
const GCP = 1 as RegionIndex;
const FORMAT: Command = {
  kind: "format",
  uuid: "u",
  volume: "test",
  regions: ["aws", "gcp"],
  primary: AWS,
  features: 1,
};
const RETAIN = { hours: 0, gib: 1 };

let directory: string;
let data: DataDirectory;
let machine: Machine;
let log: GroupEntry[];
let made: number;

async function openMachine(name: string, region: string): Promise<void> {
  data = await openDataDirectory(join(directory, name), { volume: "test", region, member: 1 });
  const onError = (error: Error) => {
    throw error;
  };
  machine = await Machine.open(data.state, { region, retain: RETAIN, onError });
}

async function closeMachine(): Promise<void> {
  await data.log.close();
  await machine.close();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-log-reader-"));
  log = [];
  made = 0;
});

afterEach(async () => {
  await closeMachine();
  await rm(directory, { recursive: true });
});

function append(bytes: Uint8Array): unknown {
  const entry = { index: log.length + 1, term: 1, kind: "application", data: bytes } as const;
  log.push(entry);
  return machine.apply([entry])[0];
}

const local = (entry: LocalEntry) => append(encodeLocal(entry));

function proposed(command: Command, epoch = machine.version.epoch): Uint8Array {
  const from = { session: 0 as SessionId, request: 0, lowWater: 0 };
  return encodeProposed({ epoch, now: { seconds: 1, nanoseconds: 0 }, ...from }, encodeCommand(command));
}

/** "taken", or why it was refused. */
function resultOf(bytes: Uint8Array): string {
  const applied = append(bytes) as Applied;
  return applied.taken ? "taken" : applied.refusal;
}

const propose = (command: Command) => resultOf(proposed(command));
const make = () => propose(makeCommand(1, `f${made++}`));
const begin = (number: number, region: RegionIndex, how: "sealed" | "counters" | "forced"): Command => ({
  kind: "beginEpoch",
  epoch: epochCode(number, region),
  how,
});

/** The entry as a mirror has it in its log. */
const follow = (previous: Version, command: Command) =>
  resultOf(encodeFollowed(previous, decodeEntry(proposed(command, previous.epoch)).body));

/** What a mirror that begins anew would be sent: the changelog, by the reader's account of it. */
async function changelog(): Promise<{ version: Version; commands: string[] }> {
  const group = {
    firstIndex: 1,
    readLog: async (from: number) => log.slice(from - 1, from + 6),
  } as unknown as Group;
  const reader = await LogReader.open({ group, machine }, NO_VERSION);
  if (!(reader instanceof LogReader)) throw new Error(reader);
  const commands: string[] = [];
  for (;;) {
    const taken = await reader.next(1);
    if (taken === undefined || taken.length === 0) return { version: reader.version, commands };
    for (const { previous, body } of taken) commands.push(decodeEntry(encodeFollowed(previous, body)).command.kind);
  }
}

/** A primary that is fenced for a promotion in the other region, and was asked for changes all the same. */
async function fencedPrimary(): Promise<void> {
  await openMachine("aws", "aws");
  propose(FORMAT);
  make();
  local({ kind: "fence", epoch: epochCode(16, GCP) });
  expect(make()).toBe("fenced");
}

/** A mirror whose state differs from the primary's, and that was sent more. */
async function divergedMirror(): Promise<void> {
  await openMachine("gcp", "gcp");
  follow(NO_VERSION, FORMAT);
  follow(machine.version, makeCommand(1, "a"));
  local({ kind: "diverged", sequence: 2, own: "a", primary: "b" });
  expect(follow(machine.version, makeCommand(1, "b"))).toBe("diverged");
}

describe("a fenced region", () => {
  test("can be promoted, above the epoch that it was fenced for, and takes nothing else", async () => {
    await fencedPrimary();
    expect(propose(begin(2, AWS, "counters"))).toBe("fenced");
    expect(propose(begin(16, AWS, "forced")), "1 below the fence").toBe("fenced");
    expect(propose({ kind: "seal", to: GCP })).toBe("fenced");
    expect(machine.role).toBe("fenced");
    expect(propose(begin(32, AWS, "forced"))).toBe("taken");
    expect(machine.role).toBe("primary");
    expect(make()).toBe("taken");
    expect(await changelog()).toEqual({
      version: machine.version,
      commands: ["format", "make", "beginEpoch", "make"],
    });
  });

  test("follows the later epoch", async () => {
    await fencedPrimary();
    expect(follow(machine.version, begin(16, GCP, "forced"))).toBe("taken");
    expect(machine.role).toBe("mirror");
    expect((await changelog()).version).toEqual(machine.version);
  });
});

describe("a diverged region", () => {
  test("begins no epoch, neither from a seal nor by force (defect 16)", async () => {
    await openMachine("gcp", "gcp");
    follow(NO_VERSION, FORMAT);
    follow(machine.version, { kind: "seal", to: GCP });
    local({ kind: "diverged", sequence: 2, own: "a", primary: "b" });
    expect(propose(begin(2, GCP, "sealed"))).toBe("diverged");
    expect(propose(begin(16, GCP, "forced"))).toBe("diverged");
    expect([machine.role, machine.state]).toEqual(["mirror", "diverged"]);
    expect((await changelog()).version).toEqual(machine.version);
  });

  test("has what it refused in its log, and not in its changelog (defect 16)", async () => {
    await divergedMirror();
    expect(await changelog()).toEqual({ version: machine.version, commands: ["format", "make"] });
  });
});

test("a beginning from a seal that was declined is refused, and is not in the changelog", async () => {
  await openMachine("gcp", "gcp");
  follow(NO_VERSION, FORMAT);
  follow(machine.version, { kind: "seal", to: GCP });
  local({ kind: "refuseSeal", seal: machine.version });
  expect(propose(begin(2, GCP, "sealed"))).toBe("refused");
  const resumed: Command = { kind: "beginEpoch", epoch: epochCode(2, AWS), how: "resumed", declined: machine.version };
  expect(follow(machine.version, resumed)).toBe("taken");
  expect(await changelog()).toEqual({ version: machine.version, commands: ["format", "seal", "beginEpoch"] });
});

describe("which entries were refused is known", () => {
  test("after a restart", async () => {
    await divergedMirror();
    await closeMachine();
    await openMachine("gcp", "gcp");
    expect(await changelog()).toEqual({ version: machine.version, commands: ["format", "make"] });
  });

  test("after a crash that lost the last turns: they are applied again", async () => {
    await openMachine("gcp", "gcp");
    follow(NO_VERSION, FORMAT);
    const part = [];
    for await (const one of (await machine.snapshot()).parts) part.push(Buffer.from(one));
    expect(follow(NO_VERSION, FORMAT)).toBe("duplicate");
    follow(machine.version, makeCommand(1, "a"));
    const { version } = machine;
    await machine.restore({ index: 1, term: 1 }, partsOf(part));
    expect(await changelog()).toEqual({ version: { ...version, sequence: 1 as Sequence }, commands: ["format"] });
    machine.apply(log.slice(1));
    expect(await changelog()).toEqual({ version, commands: ["format", "make"] });
  });

  test("to a member that has taken another's snapshot", async () => {
    await divergedMirror();
    const parts: Uint8Array[] = [];
    const snapshot = await machine.snapshot();
    for await (const part of snapshot.parts) parts.push(Uint8Array.from(part));
    await snapshot.release();
    const { version } = machine;
    await closeMachine();
    await openMachine("gcp-2", "gcp");
    await machine.restore({ index: log.length, term: 1 }, partsOf(parts));
    expect(await changelog()).toEqual({ version, commands: ["format", "make"] });
  });

  test("for as long as the log reaches back to them, and no longer", async () => {
    await openMachine("aws", "aws");
    propose(FORMAT);
    expect(propose(FORMAT)).toBe("formatted");
    while (machine.version.sequence < CHECKPOINT_EVERY) make();
    expect(propose(FORMAT)).toBe("formatted");
    const from = machine.retainFromIndex;
    expect(from, "past the retention the log is kept from the last checkpoint on").toBe(CHECKPOINT_EVERY + 1);
    make();
    await closeMachine();
    await openMachine("aws", "aws");
    const kept: unknown[] = [];
    for await (const page of machine.localPages(REFUSED_ENTRY_PREFIX)) {
      for (const [, value] of page) kept.push(JSON.parse(Buffer.from(value).toString()));
    }
    expect(kept).toEqual([CHECKPOINT_EVERY + 2]);
    expect([2, CHECKPOINT_EVERY + 2].map((index) => machine.refusedEntries.has(index))).toEqual([false, true]);
  });
});

async function* partsOf(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}
