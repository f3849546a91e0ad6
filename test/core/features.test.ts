import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { featuresIn } from "../../core/codec/records.ts";
import { decodeEntry } from "../../core/codec.ts";
import { COMMANDS, type CommandKind } from "../../core/commands.ts";
import { applyEntry } from "../../core/entries.ts";
import { FEATURE_LEVEL, levelIn, tooOld } from "../../core/features.ts";
import { checkInvariants } from "../../core/invariants.ts";
import { VOLUME_KEY } from "../../core/keys.ts";
import { Tree } from "../../core/tree.ts";
import { MemoryView, makeCommand, NO_SESSION_ID, ROOT_INODE, World } from "./world.ts";

const internal = { session: NO_SESSION_ID };

test("a volume begins at the level that format brings, and its level is raised by one at a time", () => {
  const world = new World();
  expect(world.tree.features).toBe(1);
  for (const level of [0, 1, 3]) expect(world.errorOf({ kind: "setFeatures", level }, internal)).toBe("EINVAL");
  expect(world.tree.features).toBe(1);
  world.must({ kind: "setFeatures", level: 2 }, internal);
  expect(world.tree.features).toBe(2);
  expect(featuresIn(world.view.get(VOLUME_KEY)!)).toBe(2);
  expect(COMMANDS.setFeatures.fromClient).toBe(false);
  expect(levelIn({ kind: "setFeatures", level: 2 })).toBe(2);
  expect([levelIn(makeCommand(ROOT_INODE, "f")), tooOld(1, 1)]).toEqual([undefined, undefined]);
  expect(tooOld(2, 1)).toBe("the volume is at feature level 2, and this program supports 1: use a newer program");
});

/** Kinds of command that are not in the recorded log of a level: they came later, or are about levels. */
const NOT_RECORDED: Readonly<Record<number, readonly CommandKind[]>> = { 1: ["setFeatures"] };

describe("a recorded log results in its recorded state hash, for ever", () => {
  test.each(Array.from({ length: FEATURE_LEVEL }, (_, i) => i + 1))("level %d", (level) => {
    const text = readFileSync(join(import.meta.dirname, `recorded/level-${level}.txt`), "utf8");
    const [recorded, ...log] = text.trimEnd().split("\n");
    const view = new MemoryView();
    const tree = new Tree(view);
    const succeeded = new Set<CommandKind>();
    for (const line of log) {
      const entry = decodeEntry(Buffer.from(line, "base64"));
      const applied = applyEntry(tree, entry);
      if (applied.taken && applied.outcome.ok) succeeded.add(entry.command.kind);
      view.write(tree.takeTurn().puts);
    }
    expect(`${tree.version.sequence} ${tree.stateHash}`).toBe(recorded);
    expect(tree.features).toBe(level);
    expect(checkInvariants(view.pairs)).toEqual([]);
    const kinds = (Object.keys(COMMANDS) as CommandKind[]).filter((kind) => !NOT_RECORDED[level]!.includes(kind));
    expect([...succeeded].sort()).toEqual(kinds.sort());
  });
});
