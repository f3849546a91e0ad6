import { expect, test } from "vitest";
import { makeCommand, ROOT_INODE, World } from "./world.ts";

test("smoke", () => {
  const world = new World();
  const d = world.make(ROOT_INODE, "d", "directory");
  const f = world.make(d, "f");
  expect(world.errorOf(makeCommand(d, "f"))).toBe("EEXIST");
  expect(world.lookup(d, "f")).toBe(f);
});
