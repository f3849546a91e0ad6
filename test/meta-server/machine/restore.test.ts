import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeCommand, encodeProposed } from "../../../core/codec.ts";
import type { EpochCode, RegionIndex, SessionId } from "../../../core/ids.ts";
import { decodePairs, encodePairs, type Pair } from "../../../meta-server/machine/load-part.ts";
import { encodeLocal } from "../../../meta-server/machine/local-entries.ts";
import { HEARD_KEY } from "../../../meta-server/machine/local-keys.ts";
import { Machine } from "../../../meta-server/machine/machine.ts";
import { type DataDirectory, openDataDirectory } from "../../../meta-server/storage/data-directory.ts";
import { makeCommand } from "../raw-client.ts";

const EPOCH = 16 as EpochCode;

interface Member {
  readonly data: DataDirectory;
  readonly machine: Machine;
}

let directory: string;
let source: Member;
let receiver: Member;
let index: number;

async function openMember(member: number): Promise<Member> {
  const data = await openDataDirectory(join(directory, String(member)), { volume: "test", region: "gcp", member });
  const onError = (error: Error) => {
    throw error;
  };
  return { data, machine: await Machine.open(data.state, { region: "gcp", retain: { hours: 1, gib: 1 }, onError }) };
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-restore-"));
  [source, receiver] = [await openMember(1), await openMember(2)];
  index = 0;
  command(0, {
    kind: "format",
    uuid: "u",
    volume: "test",
    regions: ["aws", "gcp"],
    primary: 0 as RegionIndex,
    features: 1,
  });
  for (let i = 0; i < 20; i += 1) command(EPOCH, makeCommand(1, `f${i}`));
  apply(encodeLocal({ kind: "heard", version: { ...source.machine.version } }));
});

afterEach(async () => {
  for (const { data, machine } of [source, receiver]) {
    await data.log.close();
    await machine.close();
  }
  await rm(directory, { recursive: true });
});

function apply(bytes: Uint8Array): void {
  source.machine.apply([{ index: ++index, term: 1, kind: "application", data: bytes }]);
}

function command(epoch: number, one: Parameters<typeof encodeCommand>[0]): void {
  const now = { seconds: 1, nanoseconds: 0 };
  const stamp = { epoch: epoch as EpochCode, now, session: 0 as SessionId, request: 0, lowWater: 0 };
  apply(encodeProposed(stamp, encodeCommand(one)));
}

/** The parts of the source's snapshot, with small parts and each part's pairs as `damage` leaves them. */
async function* parts(damage: (pairs: Pair[], part: number) => Pair[]): AsyncGenerator<Uint8Array> {
  const snapshot = await source.machine.snapshot();
  let part = 0;
  for await (const bytes of snapshot.parts) yield encodePairs(damage(decodePairs(Buffer.from(bytes)), part++));
  await snapshot.release();
}

/** A file's name in a directory: part of the volume. */
const isVolumeKey = ([key]: Pair) => key.charCodeAt(1) === 1 && key.includes("f7");

const damages: Record<string, (pairs: Pair[], part: number) => Pair[]> = {
  "a key of the volume is missing": (pairs) => pairs.filter((pair) => !isVolumeKey(pair)),
  "a key of the region's own is missing": (pairs) => pairs.filter(([key]) => key !== HEARD_KEY),
  "one byte of a value differs": (pairs) => {
    for (const [key, value] of pairs) if (key === HEARD_KEY) value[value.length - 2]! ^= 1; // the last digit of its JSON
    return pairs;
  },
  "a key came twice": (pairs) => [...pairs, ...pairs.filter(isVolumeKey)],
  "the last part is missing": (pairs, part) => (part === 0 ? pairs : []),
};

describe("a member's snapshot is refused, and the old state stays, where of its keys (defect 14)", () => {
  test.each(Object.keys(damages))("%s", async (name) => {
    await expect(receiver.machine.restore({ index, term: 1 }, parts(damages[name]!))).rejects.toThrow(RangeError);
    expect(receiver.machine).toMatchObject({ appliedIndex: 0, version: { sequence: 0 } });
  });

  test("one was lost on the sender's disk: the rest does not add up to its state hash", async () => {
    const snapshot = await source.data.state.snapshot();
    const stored: Pair[] = [];
    for await (const page of snapshot.pages()) stored.push(...page);
    await snapshot.release();
    source.data.state.write([[stored.find(isVolumeKey)![0], undefined]]);
    const restored = receiver.machine.restore(
      { index, term: 1 },
      parts((pairs) => pairs),
    );
    await expect(restored).rejects.toThrow(RangeError);
    expect(receiver.machine).toMatchObject({ appliedIndex: 0, version: { sequence: 0 } });
  });
});

test("a member's snapshot that is whole is installed, also of a group without a volume yet (defect 14)", async () => {
  const whole = (from: Member) => from.machine.snapshot().then((snapshot) => snapshot.parts);
  const { version, stateHash } = source.machine;
  await receiver.machine.restore({ index, term: 1 }, await whole(source));
  expect(receiver.machine).toMatchObject({ appliedIndex: index, version, stateHash });
  const empty = await openMember(3);
  await receiver.machine.restore({ index: 0, term: 0 }, await whole(empty));
  expect(receiver.machine.version.sequence).toBe(0);
  await empty.data.log.close();
  await empty.machine.close();
});
