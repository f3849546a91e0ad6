import { describe, expect, test } from "vitest";
import { checkLinearizable, type Model, type Timed } from "./checks/linearizability.ts";
import { type Completion, type Invocation, type TreeOperation, treeModel } from "./checks/tree-model.ts";

/** A register that holds a number. */
type Operation = { readonly kind: "write" | "read"; readonly value: number };
const register: Model<Operation, number> = {
  initial: 0,
  step: (state, { kind, value }) => (kind === "write" ? value : value === state ? state : undefined),
  nameOf: String,
};

/** `w1 0 5`: a write of 1, invoked at 0 and completed at 5. `-`: never completed. */
function history(...lines: string[]): Timed<Operation>[] {
  return lines.map((line) => {
    const [what, called, answered] = line.split(" ") as [string, string, string];
    const kind = what[0] === "w" ? "write" : "read";
    const completedAt = answered === "-" ? Number.POSITIVE_INFINITY : Number(answered);
    return { invokedAt: Number(called), completedAt, operation: { kind, value: Number(what.slice(1)) } };
  });
}

const isRegister = (...lines: string[]) => checkLinearizable(register, history(...lines)).ok;

describe("a linearizable history of a register is accepted", () => {
  test.each([
    [["w1 0 1", "r1 2 3"]],
    [["w1 0 9", "r0 1 2", "r1 3 4"]],
    [["w1 0 9", "w2 1 8", "r2 2 3", "r1 4 5"]],
    [["w1 0 -", "r1 5 6"]],
    [["w1 0 -", "r0 5 6", "r1 7 8"]],
    [["w1 0 1", "w2 2 -", "r1 3 4"]],
    [[]],
  ])("%j", (lines) => {
    expect(isRegister(...lines)).toBe(true);
  });
});

describe("a history of a register that is not linearizable is rejected", () => {
  test.each([
    ["a stale read", ["w1 0 1", "r0 2 3"]],
    ["a value that was never written", ["w1 0 1", "r2 2 3"]],
    ["a read that goes back", ["w1 0 9", "r1 1 2", "r0 3 4"]],
    ["two readers that saw different orders", ["w1 0 9", "w2 0 9", "r1 10 11", "r2 12 13"]],
    ["a lost write", ["w1 0 1", "w2 2 3", "r1 4 5"]],
    ["a write that was read before its invocation", ["r1 0 1", "w1 2 3"]],
  ])("%s", (_, lines) => {
    expect(isRegister(...lines)).toBe(false);
  });

  test("the verdict has the longest linearizable prefix, and the operations that cannot follow it", () => {
    const verdict = checkLinearizable(register, history("w1 0 1", "r1 2 3", "r7 4 5"));
    expect(verdict).toMatchObject({ ok: false, next: [{ kind: "read", value: 7 }] });
    if (verdict.ok === false) expect(verdict.linearized).toHaveLength(2);
  });

  test("the place of each operation leads the search straight to its end", () => {
    const many = history(...Array.from({ length: 20 }, (_, value) => `w${value} 0 100`), "r7 101 102");
    const placed = many.map((timed, index) => ({ ...timed, place: index === 7 ? 19.5 : index }));
    expect(checkLinearizable(register, placed, 50).ok).toBe(true);
    expect(checkLinearizable(register, many, 50).ok).toBeUndefined();
  });

  test("a search that exceeds its step limit is undecided", () => {
    const many = Array.from({ length: 40 }, (_, value) => `w${value} 0 100`);
    expect(checkLinearizable(register, history(...many, "r99 101 102"), 1_000).ok).toBeUndefined();
  });
});

const DIRECTORY = 1;
const OTHER = 2;

/** A sequential history, each operation in DIRECTORY unless it names another one. */
function isTree(...operations: [Invocation, Completion, number?][]): boolean | undefined {
  const timed = operations.map(
    ([invocation, completion, directory = DIRECTORY], index): Timed<TreeOperation> => ({
      invokedAt: 2 * index,
      completedAt: 2 * index + 1,
      operation: { directory, invocation, completion },
    }),
  );
  return checkLinearizable(treeModel, timed).ok;
}

const done: Completion = { error: "" };
const made = (inode: number): Completion => ({ error: "", inode, links: 1, owner: 0, size: 0 });
const make = (name: string): Invocation => ({ kind: "make", name, isDirectory: false });
const lookup = (name: string): Invocation => ({ kind: "lookup", name });
const unlink = (name: string): Invocation => ({ kind: "unlink", name });
const rename = (name: string, to: string, toDirectory = DIRECTORY): Invocation => ({
  kind: "rename",
  name,
  to,
  toDirectory,
  mode: "replace",
});
const write = (at: number, units: number, slice: number): Invocation => ({
  kind: "write",
  inode: 7,
  at,
  units,
  slice,
  home: 0,
});
const truncate = (size: number): Invocation => ({ kind: "truncate", inode: 7, size });
const read: Invocation = { kind: "read", inode: 7, isOpen: false };
const content = (...units: string[]): Completion => ({ error: "", content: units });

describe("a history of directories", () => {
  test("is accepted with the answers that core gives", () => {
    expect(
      isTree(
        [make("a"), made(7)],
        [make("a"), { error: "EEXIST" }],
        [{ kind: "link", inode: 7, name: "b" }, done],
        [lookup("b"), { error: "", inode: 7, links: 2, owner: 0, size: 0 }],
        [{ kind: "setOwner", inode: 7, owner: 5 }, done],
        [rename("a", "c"), { error: "", inode: 7 }],
        [
          { kind: "list" },
          {
            error: "",
            entries: [
              ["b", 7],
              ["c", 7],
            ],
          },
        ],
        [unlink("b"), done],
        [
          { kind: "getattr", inode: 7, isOpen: false },
          { error: "", inode: 7, links: 1, owner: 5, size: 0 },
        ],
        [unlink("b"), { error: "ENOENT" }],
      ),
    ).toBe(true);
  });

  test("is accepted when a file moves to another directory, over one that is there", () => {
    expect(
      isTree(
        [make("a"), made(7)],
        [make("b"), made(8), OTHER],
        [rename("a", "b", OTHER), { error: "", inode: 7 }],
        [lookup("a"), { error: "ENOENT" }],
        [lookup("b"), made(7), OTHER],
        [{ kind: "open", inode: 8, name: "b" }, { error: "ESTALE" }, OTHER],
      ),
    ).toBe(true);
  });

  test("is accepted with the content that writes of several blocks and truncates leave", () => {
    expect(
      isTree(
        [make("a"), made(7)],
        [write(1, 2, 40), done],
        [write(2, 2, 50), done],
        [read, content("", "40.0", "50.0", "50.1")],
        [truncate(3), done],
        [truncate(9), done],
        [read, content("", "40.0", "50.0")],
        [truncate(1), done],
        [read, content()],
      ),
    ).toBe(true);
  });

  test.each<[string, [Invocation, Completion, number?][]]>([
    ["a change executed twice", [[make("a"), { error: "EEXIST" }]]],
    [
      "an unlink executed twice",
      [
        [make("a"), made(7)],
        [unlink("a"), { error: "ENOENT" }],
      ],
    ],
    [
      "a name that reappeared",
      [
        [make("a"), made(7)],
        [unlink("a"), done],
        [lookup("a"), made(7)],
      ],
    ],
    [
      "a name that refers to another inode",
      [
        [make("a"), made(7)],
        [lookup("a"), made(8)],
      ],
    ],
    [
      "one inode created twice",
      [
        [make("a"), made(7)],
        [make("b"), made(7)],
      ],
    ],
    [
      "a link that is not counted",
      [
        [make("a"), made(7)],
        [{ kind: "link", inode: 7, name: "b" }, done],
        [lookup("a"), made(7)],
      ],
    ],
    [
      "a listing that misses a name",
      [
        [make("a"), made(7)],
        [{ kind: "list" }, { error: "", entries: [] }],
      ],
    ],
    [
      "a rename that did not replace its target",
      [
        [make("a"), made(7)],
        [make("b"), made(8)],
        [rename("a", "b"), { error: "", inode: 7 }],
        [lookup("b"), made(8)],
      ],
    ],
    [
      "a file that moved and is still there",
      [
        [make("a"), made(7)],
        [rename("a", "a", OTHER), { error: "", inode: 7 }],
        [lookup("a"), made(7)],
      ],
    ],
    [
      "an open by a name that has moved",
      [
        [make("a"), made(7)],
        [rename("a", "b"), { error: "", inode: 7 }],
        [{ kind: "open", inode: 7, name: "a" }, made(7)],
      ],
    ],
    [
      "bytes that were truncated",
      [
        [make("a"), made(7)],
        [write(0, 2, 40), done],
        [truncate(1), done],
        [read, content("40.0", "40.1")],
      ],
    ],
    [
      "another part of a slice",
      [
        [make("a"), made(7)],
        [write(0, 2, 40), done],
        [read, content("40.1", "40.1")],
      ],
    ],
  ])("is rejected with %s", (_, operations) => {
    expect(isTree(...operations)).toBe(false);
  });
});
