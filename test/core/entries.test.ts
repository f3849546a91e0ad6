import { describe, expect, test } from "vitest";
import { decodeEntry, encodeCommand, encodeFollowed, encodeProposed } from "../../core/codec.ts";
import type { Beginning, Command } from "../../core/commands.ts";
import { applyEntry, type Position, START, sequenceEntry } from "../../core/entries.ts";
import {
  epochCode,
  epochNumber,
  epochRegion,
  type RegionIndex,
  type Sequence,
  type SessionId,
  type Version,
} from "../../core/ids.ts";
import { forcedNumberAbove } from "../../core/sequencer.ts";
import { Tree } from "../../core/tree.ts";
import { MemoryView, makeCommand, NO_SESSION_ID, ROOT_INODE, World } from "./world.ts";

const AWS = 0 as RegionIndex;
const GCP = 1 as RegionIndex;
const internal = { session: NO_SESSION_ID };
const NO_REQUEST = { session: NO_SESSION_ID, request: 0, lowWater: 0 };

/** The refusal of an entry, or else the version it took. Checks that a refused entry changes nothing. */
function resultOf(world: World, entry: Uint8Array): string {
  const before = new Map(world.view.pairs);
  const applied = world.applyBytes(entry);
  if (applied.taken) return `${applied.version.epoch}:${applied.version.sequence}`;
  expect(world.view.pairs).toEqual(before);
  return applied.refusal;
}

const begin = (number: number, region: RegionIndex, how: "sealed" | "counters" | "forced" | Version): Command => {
  const beginning: Beginning = typeof how === "string" ? { how } : { how: "resumed", declined: how };
  return { kind: "beginEpoch", epoch: epochCode(number, region), ...beginning };
};

describe("proposed entries", () => {
  test("format must come first, and only once", () => {
    const tree = new Tree(new MemoryView());
    const stamp = {
      epoch: 0 as never,
      now: { seconds: 1, nanoseconds: 0 },
      session: NO_SESSION_ID,
      request: 0,
      lowWater: 0,
    };
    const apply = (command: Command) => applyEntry(tree, decodeEntry(encodeProposed(stamp, encodeCommand(command))));
    expect(apply(makeCommand(ROOT_INODE, "f"))).toEqual({ taken: false, refusal: "notFormatted" });
    expect(tree.takeTurn().puts.size).toBe(0);
    const world = new World();
    const again = { kind: "format", uuid: "x", volume: "x", regions: ["a"], primary: AWS, features: 1 } as const;
    expect(resultOf(world, world.entry(again, internal))).toBe("formatted");
  });

  test("each entry takes one sequence, whatever its outcome; a refused one takes none", () => {
    const world = new World();
    const { sequence } = world.tree.version;
    expect(resultOf(world, world.entry(makeCommand(ROOT_INODE, "f")))).toBe(`16:${sequence + 1}`);
    expect(world.errorOf(makeCommand(ROOT_INODE, "f"))).toBe("EEXIST");
    expect(world.tree.version.sequence).toBe(sequence + 2);
    const other = epochCode(2, GCP);
    expect(resultOf(world, world.entry(makeCommand(ROOT_INODE, "g"), { epoch: other }))).toBe("wrongEpoch");
    expect(world.tree.version.sequence).toBe(sequence + 2);
  });

  test("a seal ends the epoch: only the beginning of the next one is accepted", () => {
    const world = new World();
    const late = world.entry(makeCommand(ROOT_INODE, "late"));
    world.must({ kind: "seal", to: GCP }, internal);
    expect(world.tree.sealedTo).toBe(GCP);
    expect(resultOf(world, late)).toBe("sealed");
    expect(resultOf(world, world.entry({ kind: "seal", to: GCP }, internal))).toBe("sealed");
    const at = world.tree.version;
    world.must(begin(2, GCP, "sealed"), internal);
    expect(world.tree.version).toEqual({ epoch: epochCode(2, GCP), sequence: at.sequence + 1 });
    expect(world.tree.sealedTo).toBeUndefined();
    expect(world.tree.epoch(epochCode(2, GCP))).toEqual({ first: at.sequence + 1, previous: at, how: "sealed" });
    expect(resultOf(world, late)).toBe("wrongEpoch");
    expect(world.errorOf(makeCommand(ROOT_INODE, "next"))).toBe("ok");
  });

  describe("of an epoch's beginning", () => {
    const at = (number: number, region = AWS) => ({
      version: { epoch: epochCode(number, region), sequence: 9 as Sequence },
    });
    const serving = { ...at(2), sealedTo: undefined };
    const sealed = { ...at(2), sealedTo: GCP };
    const seal = sealed.version;
    const older = { ...seal, sequence: 8 as Sequence };

    test.each<[what: string, Position, Command, result: string]>([
      ["the target of the seal begins the next", sealed, begin(3, GCP, "sealed"), "3@1"],
      ["the target of the seal begins one after the next", sealed, begin(4, GCP, "sealed"), "wrongEpoch"],
      ["the target of the seal begins a present one", sealed, begin(2, GCP, "sealed"), "wrongEpoch"],
      ["another region than the target begins", sealed, begin(3, 2 as RegionIndex, "sealed"), "notSealed"],
      ["a target begins without a seal", serving, begin(3, GCP, "sealed"), "notSealed"],
      ["the sealer continues after the target's refusal", sealed, begin(3, AWS, seal), "3@0"],
      [
        "the sealer continues with the refusal of another seal (defect 18)",
        sealed,
        begin(3, AWS, older),
        "notDeclined",
      ],
      ["the sealer continues as if it were the target (defect 18)", sealed, begin(3, AWS, "sealed"), "notSealed"],
      ["the target continues as if it were the sealer", sealed, begin(3, GCP, seal), "notSealed"],
      ["the sealer continues one after the next", sealed, begin(4, AWS, seal), "wrongEpoch"],
      ["there is no seal to take back", serving, begin(3, AWS, seal), "notSealed"],
      ["the primary renews its counters", serving, begin(3, AWS, "counters"), "3@0"],
      ["a renewal of counters that lands behind a seal (defect 18)", sealed, begin(3, AWS, "counters"), "sealed"],
      ["another region renews the counters", serving, begin(3, GCP, "counters"), "notSealed"],
      ["counters of an epoch after the next", serving, begin(4, AWS, "counters"), "wrongEpoch"],
      ["a promotion", serving, begin(16, GCP, "forced"), "16@1"],
      ["a promotion past a seal", sealed, begin(16, GCP, "forced"), "16@1"],
      ["a promotion of the sealer", sealed, begin(16, AWS, "forced"), "16@0"],
      ["a promotion far ahead", serving, begin(160, GCP, "forced"), "160@1"],
      ["a promotion to a number that the target of a seal may have", serving, begin(3, GCP, "forced"), "wrongEpoch"],
      ["a promotion to a number between", serving, begin(17, GCP, "forced"), "wrongEpoch"],
      ["a promotion to the next number", { ...serving, ...at(15) }, begin(16, GCP, "forced"), "wrongEpoch"],
      ["a promotion to the number after that", { ...serving, ...at(14) }, begin(16, GCP, "forced"), "16@1"],
      ["a promotion to the present number", { ...serving, ...at(16) }, begin(16, GCP, "forced"), "wrongEpoch"],
      ["a promotion to an older number", { ...serving, ...at(40) }, begin(32, GCP, "forced"), "wrongEpoch"],
    ])("%s", (_, position, command, result) => {
      const stamp = { epoch: position.version.epoch, now: { seconds: 1, nanoseconds: 0 }, ...NO_REQUEST };
      const sequenced = sequenceEntry(position, decodeEntry(encodeProposed(stamp, encodeCommand(command))));
      if (!sequenced.taken) expect(sequenced.refusal).toBe(result);
      else {
        const { epoch, sequence } = sequenced.position.version;
        expect(`${epochNumber(epoch)}@${epochRegion(epoch)}`).toBe(result);
        expect(sequence).toBe(10);
        expect(sequenced.position.sealedTo).toBeUndefined();
      }
    });

    test("the number of a promotion leaves out at least one, and is the lowest that may be taken", () => {
      expect([0, 1, 14, 15, 16, 30, 31].map(forcedNumberAbove)).toEqual([16, 16, 16, 32, 32, 32, 48]);
    });
  });

  test("a new epoch's counters start again, and its ids are above those of the old one", () => {
    const world = new World();
    const before = world.make(ROOT_INODE, "a");
    world.must(begin(2, AWS, "counters"), internal);
    const after = world.make(ROOT_INODE, "b");
    expect([before, after]).toEqual([16 * 2 ** 30 + 1, 32 * 2 ** 30 + 1]);
  });

  test("a region's progress never decreases; an unknown region is ENODEV", () => {
    const world = new World();
    const report = (region: number, version: Version) =>
      world.errorOf({ kind: "regionProgress", region: region as RegionIndex, version }, internal);
    const at = (number: number, sequence: number) => ({
      epoch: epochCode(number, AWS),
      sequence: sequence as Sequence,
    });
    report(1, at(1, 3));
    report(1, at(1, 2));
    expect(world.tree.regionProgress(GCP)).toEqual(at(1, 3));
    report(1, at(2, 4));
    report(1, at(1, 5));
    expect(world.tree.regionProgress(GCP)).toEqual(at(2, 4));
    expect(report(2, at(1, 3))).toBe("ENODEV");
  });
});

describe("followed entries", () => {
  /** A primary's log as a mirror receives it: each entry with its predecessor's version. */
  function primary() {
    const world = new World();
    for (const name of ["a", "b", "c"]) world.make(ROOT_INODE, name);
    world.must({ kind: "seal", to: GCP }, internal);
    world.must(begin(2, GCP, "sealed"), internal);
    world.make(ROOT_INODE, "d");
    let position: Position = START;
    const followed = world.log.map((bytes) => {
      const entry = decodeEntry(bytes);
      const previous = position.version;
      const sequenced = sequenceEntry(position, entry);
      if (!sequenced.taken) throw new Error(sequenced.refusal);
      position = sequenced.position;
      return encodeFollowed(previous, entry.body);
    });
    expect(position).toEqual({ version: world.tree.version, sealedTo: undefined });
    return { world, followed };
  }

  function mirror() {
    const view = new MemoryView();
    const tree = new Tree(view);
    const apply = (bytes: Uint8Array) => {
      const applied = applyEntry(tree, decodeEntry(bytes));
      view.write(tree.takeTurn().puts);
      return applied.taken ? "ok" : applied.refusal;
    };
    return { view, tree, apply };
  }

  test("applied in order, they result in the same state and the same hash", () => {
    const { world, followed } = primary();
    const { view, tree, apply } = mirror();
    for (const entry of followed) expect(apply(entry)).toBe("ok");
    expect(tree.stateHash).toBe(world.tree.stateHash);
    expect(view.pairs).toEqual(world.view.pairs);
  });

  test("a gap is refused; an entry applied before is a duplicate, also one of an earlier epoch", () => {
    const { followed } = primary();
    const { apply, tree } = mirror();
    expect(apply(followed[1]!)).toBe("gap");
    apply(followed[0]!);
    expect(apply(followed[2]!)).toBe("gap");
    expect(apply(followed[0]!)).toBe("duplicate");
    expect(apply(followed.at(-1)!)).toBe("gap");
    for (const entry of followed.slice(1)) expect(apply(entry)).toBe("ok");
    for (const entry of followed) expect(apply(entry)).toBe("duplicate");
    const otherVolume = { kind: "format", uuid: "x", volume: "v", regions: ["a"], primary: AWS, features: 1 } as const;
    const stamp = { ...decodeEntry(followed[0]!).stamp };
    const { body } = decodeEntry(encodeProposed(stamp, encodeCommand(otherVolume)));
    expect(apply(encodeFollowed({ epoch: 0 as never, sequence: 0 as Sequence }, body))).toBe("fork");
    expect(tree.version.sequence).toBe(followed.length);
  });

  test("an entry of a diverged history is a fork", () => {
    const { world, followed } = primary();
    const { tree, apply } = mirror();
    const cut = 4;
    for (const entry of followed.slice(0, cut)) apply(entry);
    const stamp = { epoch: tree.version.epoch, now: world.now, session: NO_SESSION_ID, request: 0, lowWater: 0 };
    const forced = encodeProposed(stamp, encodeCommand(begin(16, GCP, "forced")));
    expect(apply(forced)).toBe("ok");
    expect(apply(followed[cut]!)).toBe("fork");
    expect(apply(followed[cut + 1]!)).toBe("fork");
    expect(apply(followed[cut - 1]!)).toBe("duplicate");
  });

  test("a seal refuses followed entries too", () => {
    const { followed } = primary();
    const { tree, apply } = mirror();
    const seal = followed.length - 3;
    for (const entry of followed.slice(0, seal + 1)) apply(entry);
    const { body } = decodeEntry(followed[seal]!);
    expect(apply(encodeFollowed(tree.version, body))).toBe("sealed");
  });

  test("a stamp of an epoch other than its predecessor's is refused", () => {
    const { followed } = primary();
    const { tree, apply } = mirror();
    for (const entry of followed.slice(0, -1)) apply(entry);
    const { body } = decodeEntry(followed[3]!);
    expect(apply(encodeFollowed(tree.version as Version, body))).toBe("wrongEpoch");
  });
});

describe("the turn", () => {
  test("without changes there are no puts, and the hash is the same", () => {
    const world = new World();
    const { stateHash } = world.tree;
    expect(world.tree.takeTurn()).toEqual({ puts: new Map(), stateHash, effects: [] });
  });

  test("the hash does not depend on where turns end, nor on restarts", () => {
    const one = new World();
    for (let at = 0; at < 50; at++) one.make(ROOT_INODE, `f${at}`);
    const view = new MemoryView();
    let tree = new Tree(view);
    one.log.forEach((bytes, at) => {
      applyEntry(tree, decodeEntry(bytes));
      if (at % 7 !== 6) return;
      view.write(tree.takeTurn().puts);
      if (at % 2 === 0) tree = new Tree(view, { cacheBytes: 1000 });
    });
    view.write(tree.takeTurn().puts);
    expect(tree.stateHash).toBe(one.tree.stateHash);
    expect(view.pairs).toEqual(one.view.pairs);
  });

  test("a changed byte changes the hash; so does a value under another key", () => {
    const a = new World();
    const b = new World();
    a.make(ROOT_INODE, "f");
    b.make(ROOT_INODE, "g");
    expect(a.tree.stateHash).not.toBe(b.tree.stateHash);
    expect(a.tree.stateHash).toMatch(/^[0-9a-f]{16}$/);
  });

  test("effects name the session that made the change", () => {
    const world = new World();
    world.make(ROOT_INODE, "f");
    expect(world.effects!.session).toBe(7001 as SessionId);
  });
});
