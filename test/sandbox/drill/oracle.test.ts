import { describe, expect, it } from "vitest";
import { History, judgeLoss, judgeNoLoss, type Loss, type Reading } from "../../../sandbox/drill/oracle.ts";

/** aws is lost at 1,000 and its last process reaped at 1,100. */
const LOSS: Loss = { region: "aws", begunMs: 1_000, reapedMs: 1_100, rpoMsMax: 400 };

interface Fabricated {
  readonly region?: string;
  readonly begunMs: number;
  readonly acknowledgedMs?: number;
  readonly reading?: Reading;
}

/** A drill in which all went well: old files are there, one was in flight, the newest before the loss is gone, and gcp went on. */
const CLEAN: Readonly<Record<string, Fabricated>> = {
  old: { begunMs: 100, acknowledgedMs: 120, reading: "right" },
  far: { region: "gcp", begunMs: 500, acknowledgedMs: 640, reading: "right" },
  young: { begunMs: 900, acknowledgedMs: 950, reading: "ENOENT" },
  flying: { begunMs: 990 },
  next: { region: "gcp", begunMs: 1_500, acknowledgedMs: 1_700, reading: "right" },
};

function judge(
  changed: Readonly<Record<string, Fabricated>> = {},
  options: Partial<Loss> & { reported?: string[] } = {},
) {
  const { reported = [], ...loss } = options;
  const all = { ...CLEAN, ...changed };
  const history = new History();
  const readings = new Map<string, Reading>();
  for (const [name, { region = "aws", begunMs, acknowledgedMs, reading }] of Object.entries(all)) {
    history.begin({ name, bytes: 1, region, begunMs });
    if (acknowledgedMs !== undefined) history.acknowledge(name, acknowledgedMs);
    if (reading !== undefined) readings.set(name, reading);
  }
  return judgeLoss(history, readings, { ...LOSS, ...loss }, new Set(reported));
}

describe("clean histories", () => {
  it("a forced promotion that lost the youngest write", () => {
    const { violations, right, lost, rpoMs, rtoMs } = judge();
    expect(violations).toEqual([]);
    expect({ right, lost: lost.map(({ name }) => name), rpoMs, rtoMs }).toEqual({
      right: 3,
      lost: ["young"],
      rpoMs: 50,
      rtoMs: 700,
    });
  });

  it("one that lost nothing", () => {
    const verdict = judge({ young: { ...CLEAN.young!, reading: "right" } });
    expect(verdict).toMatchObject({ violations: [], right: 4, lost: [], rpoMs: 0 });
  });

  it("one whose unreadable file is the reported one", () => {
    const verdict = judge({ young: { ...CLEAN.young!, reading: "EIO" } }, { reported: ["young"] });
    expect(verdict.violations).toEqual([]);
  });
});

describe("violations", () => {
  const cases: [string, Parameters<typeof judge>, string][] = [
    [
      "silent corruption, of whatever age",
      [{ young: { ...CLEAN.young!, reading: "wrong" } }],
      "young, acknowledged 50 ms before the loss began: wrong",
    ],
    [
      "silent corruption of an old file",
      [{ old: { ...CLEAN.old!, reading: "wrong" } }],
      "old, acknowledged 880 ms before the loss began: wrong",
    ],
    [
      "a loss older than the bound",
      [
        {
          young: { begunMs: 520, acknowledgedMs: 560, reading: "ENOENT" },
          far: { begunMs: 480, acknowledgedMs: 500, reading: "right" },
        },
      ],
      "a write 440 ms old is lost, and 400 ms is the bound",
    ],
    [
      "a lost write that was begun after the loss",
      [
        {
          next: { region: "gcp", begunMs: 1_150, acknowledgedMs: 1_250, reading: "ENOENT" },
          later: { region: "gcp", begunMs: 1_600, acknowledgedMs: 1_650, reading: "right" },
        },
      ],
      "next, begun after the loss and acknowledged: ENOENT",
    ],
    [
      "a lost write that only the new primary can have acknowledged",
      [{ waited: { region: "gcp", begunMs: 1_050, acknowledgedMs: 1_600, reading: "ENOENT" } }],
      "waited, acknowledged 600 ms after the loss began: ENOENT",
    ],
    [
      "an unreadable write that was begun after the loss",
      [{ next: { ...CLEAN.next!, reading: "EIO" } }, { reported: ["next"] }],
      "next, begun after the loss and acknowledged: EIO",
    ],
    [
      "reordering: an earlier write is absent and a later one is there",
      [
        {
          early: { begunMs: 850, acknowledgedMs: 880, reading: "ENOENT" },
          young: { ...CLEAN.young!, reading: "right" },
          next: { begunMs: 870, region: "gcp", acknowledgedMs: 890, reading: "right" },
        },
      ],
      "early is absent, and young, begun after that had been acknowledged, is there",
    ],
    [
      "an unreadable file that the report does not list",
      [{ young: { ...CLEAN.young!, reading: "EIO" } }],
      "young is EIO, and the report does not list it",
    ],
    [
      "an error that no promotion explains",
      [{ young: { ...CLEAN.young!, reading: "EACCES" } }],
      "young, acknowledged 50 ms before the loss began: EACCES",
    ],
    [
      "a file that was not read",
      [{ old: { begunMs: 100, acknowledgedMs: 120 } }],
      "old, acknowledged 880 ms before the loss began: not read",
    ],
    [
      "an acknowledgement by a region that is dead",
      [{ ghost: { begunMs: 1_050, acknowledgedMs: 1_200, reading: "right" } }],
      "ghost, begun at 1050, was acknowledged in aws after its last process had been reaped",
    ],
    [
      "no write goes on",
      [{ next: { region: "gcp", begunMs: 1_050, acknowledgedMs: 1_700, reading: "right" } }],
      "no write that was begun after the loss was ever acknowledged",
    ],
    ["a failure that hit nothing", [{ flying: { begunMs: 2_000 } }], "no write was in flight when the region was lost"],
  ];
  it.each(cases)("%s", (_, args, sentence) => {
    expect(judge(...args).violations).toContain(sentence);
  });
});

describe("a failure that promises no loss", () => {
  const history = new History();
  for (const [i, name] of ["a", "b", "c"].entries()) {
    history.begin({ name, bytes: 1, region: "aws", begunMs: i });
    if (name !== "c") history.acknowledge(name, i + 10);
  }

  it("everything acknowledged is right", () => {
    expect(
      judgeNoLoss(
        history,
        new Map([
          ["a", "right"],
          ["b", "right"],
        ]),
      ),
    ).toEqual([]);
  });

  it.each(["ENOENT", "EIO", "wrong"])("an acknowledged file that is %s", (reading) => {
    expect(
      judgeNoLoss(
        history,
        new Map([
          ["a", "right"],
          ["b", reading],
        ]),
      ),
    ).toEqual([`b was acknowledged: ${reading}`]);
  });

  it("an acknowledged file that was not read", () => {
    expect(judgeNoLoss(history, new Map([["a", "right"]]))).toEqual(["b was acknowledged: not read"]);
  });
});

describe("the history itself", () => {
  it("a name written twice, or ended before it began, is the drill's mistake", () => {
    const history = new History();
    history.begin({ name: "a", bytes: 1, region: "aws", begunMs: 1 });
    expect(() => history.begin({ name: "a", bytes: 1, region: "aws", begunMs: 2 })).toThrow("written twice");
    expect(() => history.acknowledge("b", 3)).toThrow("before it began");
  });

  it("failures are kept with their region", () => {
    const history = new History();
    history.begin({ name: "a", bytes: 1, region: "gcp", begunMs: 1 });
    history.fail("a", "EIO");
    expect(history.failures).toEqual(["a, written in gcp: EIO"]);
  });

  it("the longest pause counts both ends", () => {
    const history = new History();
    history.begin({ name: "a", bytes: 1, region: "aws", begunMs: 1 });
    history.acknowledge("a", 40);
    expect(history.longestPauseMs(0, 100)).toBe(60);
    expect(history.longestPauseMs(50, 100)).toBe(50);
  });
});
