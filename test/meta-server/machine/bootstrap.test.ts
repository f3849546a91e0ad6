import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeCommand, encodeProposed } from "../../../core/codec.ts";
import type { EpochCode, RegionIndex, SessionId } from "../../../core/ids.ts";
import { HASH_KEY } from "../../../core/keys.ts";
import { encodeLocal, type LocalEntry } from "../../../meta-server/machine/local-entries.ts";
import { Machine } from "../../../meta-server/machine/machine.ts";
import type { ServerContext } from "../../../meta-server/region/context.ts";
import { AgentService } from "../../../meta-server/services/agent/service.ts";
import { type DataDirectory, openDataDirectory } from "../../../meta-server/storage/data-directory.ts";
import type { RevokedGrants } from "../../../proto/generated/agent.ts";
import { makeCommand } from "../raw-client.ts";

type Pairs = [string, Uint8Array][];

const EPOCH = 16 as EpochCode;
let directory: string;
let data: DataDirectory;
let machine: Machine;
let index: number;

async function openMachine(): Promise<void> {
  data = await openDataDirectory(directory, { volume: "test", region: "gcp", member: 1 });
  const onError = (error: Error) => {
    throw error;
  };
  machine = await Machine.open(data.state, { region: "gcp", retain: { hours: 1, gib: 1 }, onError });
}

async function closeMachine(): Promise<void> {
  await data.log.close();
  await machine.close();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-bootstrap-"));
  index = 0;
  await openMachine();
  command(0, {
    kind: "format",
    uuid: "u",
    volume: "test",
    regions: ["aws", "gcp"],
    primary: 0 as RegionIndex,
    features: 1,
  });
  for (let i = 0; i < 20; i += 1) command(EPOCH, makeCommand(1, `f${i}`));
});

afterEach(async () => {
  await closeMachine();
  await rm(directory, { recursive: true });
});

function put(bytes: Uint8Array): void {
  machine.apply([{ index: ++index, term: 1, kind: "application", data: bytes }]);
}

function local(entry: LocalEntry): void {
  put(encodeLocal(entry));
}

function command(epoch: number, one: Parameters<typeof encodeCommand>[0], session = 0): void {
  const now = { seconds: 1, nanoseconds: 0 };
  const stamp = { epoch: epoch as EpochCode, now, session: session as SessionId, request: session, lowWater: session };
  put(encodeProposed(stamp, encodeCommand(one)));
}

/** The machine's own state as the snapshot to load: any other would do. Then the live state goes on. */
async function takeSnapshot(): Promise<{ pairs: Pairs; flip: Extract<LocalEntry, { kind: "flip" }> }> {
  const { pages, release } = await machine.volumeSnapshot();
  const pairs: Pairs = [];
  for await (const page of pages) for (const [key, value] of page) pairs.push([key, Uint8Array.from(value)]);
  await release();
  const { version, stateHash } = machine;
  const flip = {
    kind: "flip",
    generation: 2,
    replaces: version.epoch,
    version,
    stateHash,
    keys: pairs.length,
  } as const;
  command(EPOCH, makeCommand(1, "alive"));
  return { pairs, flip };
}

function load(pairs: Pairs, generation = 2): void {
  for (let at = 0; at < pairs.length; at += 10) {
    local({ kind: "load", generation, nowMs: 0, pairs: pairs.slice(at, at + 10) });
  }
}

const damages: Record<string, (pairs: Pairs) => Pairs> = {
  "one key is missing": (pairs) => pairs.filter((_, i) => i !== 12),
  "one byte of a value differs": (pairs) => {
    pairs[12]![1][0]! ^= 1;
    return pairs;
  },
  "one byte of a key differs": (pairs) => {
    pairs[12]![0] = `${pairs[12]![0].slice(0, -1)}\xfe`;
    return pairs;
  },
  "one byte of the stored hash differs": (pairs) => {
    pairs.find(([key]) => key === HASH_KEY)![1][1]! ^= 1;
    return pairs;
  },
  "a part came twice": (pairs) => [...pairs, pairs[12]!],
};

describe("a flip is refused, and the old state stays alive, where of what was loaded (defect 14)", () => {
  test.each(Object.keys(damages))("%s", async (name) => {
    const { pairs, flip } = await takeSnapshot();
    load(damages[name]!(pairs));
    const alive = [machine.version, machine.stateHash];
    local(flip);
    expect([machine.version, machine.stateHash, machine.facts.generation]).toEqual([...alive, 1]);
    local(flip);
    expect(machine.facts.generation, "nor does it become alive later").toBe(1);
  });
});

test("a whole snapshot becomes alive, also across a restart while it is loaded, and after a refused one (defect 14)", async () => {
  const { pairs, flip } = await takeSnapshot();
  load(pairs.slice(1));
  local(flip);
  load(pairs.slice(0, 10), 3);
  await closeMachine();
  await openMachine();
  load(pairs.slice(10), 3);
  local({ ...flip, generation: 3 });
  expect([machine.version, machine.stateHash, machine.facts.generation]).toEqual([flip.version, flip.stateHash, 3]);
});

test("the keys of a refused snapshot are deleted (defect 14)", async () => {
  const { pairs, flip } = await takeSnapshot();
  load(pairs.slice(1));
  local(flip);
  await machine.sweep();
  expect(await data.state.range("\0\x02", "\0\x03", 10)).toEqual([]);
});

/** The ranges of ids under which agents delete blocks. */
function revoked(): Promise<RevokedGrants["grants"]> {
  const volume = { volume: "test", gc: { graceMs: 0 } };
  const context = { volume, region: "gcp", group: { leading: true }, machine } as unknown as ServerContext;
  const request = { volume: "test", after: 0, limit: 100 };
  return new Promise((resolve, reject) => {
    new AgentService(context).handlers.listRevoked({ request } as never, (error, answer) =>
      answer ? resolve(answer.grants) : reject(error),
    );
  });
}

test("ids that were revoked in a history are not deleted after another has replaced it, and later ones are (defect 13)", async () => {
  for (const session of [1, 2]) {
    command(
      EPOCH,
      { kind: "openSession", session: session as SessionId, client: "c", region: 1 as RegionIndex },
      session,
    );
    command(EPOCH, { kind: "grantSlices", count: 8 }, session);
  }
  const { pairs, flip } = await takeSnapshot();
  command(EPOCH, { kind: "closeSession", session: 1 as SessionId });
  await machine.ready();
  const [first] = await revoked();
  expect(first).toMatchObject({ count: 8 });
  // In the history that is loaded the session lives, and may have used its ids since.
  load(pairs);
  local(flip);
  expect(machine.facts.generation).toBe(2);
  expect(await revoked()).toEqual([]);
  command(EPOCH, { kind: "closeSession", session: 2 as SessionId });
  const later = { first: first!.first + 8, count: 8 };
  expect(await revoked()).toEqual([later]);
  await machine.sweep();
  expect(await revoked()).toEqual([later]);
  local({ kind: "swept", firsts: [later.first] });
  expect(await revoked()).toEqual([]);
});
