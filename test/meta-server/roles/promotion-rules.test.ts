import { describe, expect, test } from "vitest";
import { epochCode, NO_VERSION, type RegionIndex, type Sequence } from "../../../core/ids.ts";
import {
  type Candidate,
  epochOf,
  type Overrides,
  refusalOf,
  regionsToEnd,
} from "../../../meta-server/roles/epochs/promotion-rules.ts";
import type { ConfirmAnswer, MemberVersion } from "../../../proto/generated/admin.ts";

const AWS = 0 as RegionIndex;
const GCP = 1 as RegionIndex;
const at = (number: number, region: RegionIndex, sequence: number) => ({
  epoch: epochCode(number, region),
  sequence: sequence as Sequence,
});

/** gcp, a mirror in epoch 2 of aws. No other region answers. */
const GCP_ALONE: Candidate = {
  region: "gcp",
  regionIndex: GCP,
  primary: "aws",
  version: at(2, AWS, 100),
  fence: 0,
  heard: NO_VERSION,
  confirmed: new Map(),
  applied: [],
  clearanceAskedMs: Number.POSITIVE_INFINITY,
};
const NONE: Overrides = { evenIfAlive: false, discard: [] };
const EVEN_IF_ALIVE: Overrides = { evenIfAlive: true, discard: [] };

function answered(region: string, state: string, more: Partial<ConfirmAnswer> = {}): Partial<Candidate> {
  const answer = { region, state, uuid: "u", version: at(2, AWS, 100), chain: [], sealedTo: "", fence: 0, ...more };
  return { confirmed: new Map([[region, answer]]) };
}

const member = (region: string, version: MemberVersion["version"]) => ({ applied: [{ region, member: 2, version }] });

describe("a promotion by force", () => {
  type Case = readonly [
    what: string,
    found: Partial<Candidate>,
    overrides: Overrides,
    refusal: RegExp | undefined,
    end?: string[],
  ];
  const cases: readonly Case[] = [
    ["nobody answers", {}, NONE, undefined],
    ["the primary serves", answered("aws", "primary"), NONE, /aws is alive: .*--even-if-alive ends it/, ["aws"]],
    ["the primary serves, and is to be ended", answered("aws", "primary"), EVEN_IF_ALIVE, undefined, ["aws"]],
    [
      "what the primary has not mirrored goes with it",
      answered("aws", "primary", { version: at(2, AWS, 120) }),
      EVEN_IF_ALIVE,
      undefined,
      ["aws"],
    ],
    [
      "the primary waits for clearance: it has acknowledged nothing, and is ended without being asked for",
      answered("aws", "waiting"),
      NONE,
      undefined,
      ["aws"],
    ],
    [
      "the primary waits for clearance, and has applied more",
      answered("aws", "waiting", { version: at(2, AWS, 101) }),
      EVEN_IF_ALIVE,
      /aws has applied more .*--discard aws/,
      ["aws"],
    ],
    ["the primary has sealed its epoch", answered("aws", "sealed"), NONE, /aws has sealed .*--even-if-alive/, ["aws"]],
    ["the sealed one is to be ended", answered("aws", "sealed"), EVEN_IF_ALIVE, undefined, ["aws"]],
    [
      "another region stands on a seal to itself",
      answered("azure", "mirror", { sealedTo: "azure" }),
      NONE,
      /azure is about to become the primary .*--even-if-alive/,
      ["azure"],
    ],
    [
      "another region stands on a seal to itself, and was fenced since",
      answered("azure", "mirror", { sealedTo: "azure", fence: epochCode(16, GCP) }),
      NONE,
      undefined,
    ],
    ["another region stands on a seal to a third", answered("azure", "mirror", { sealedTo: "aws" }), NONE, undefined],
    ["the old primary is fenced", answered("aws", "fenced"), NONE, undefined],
    [
      "another mirror has applied more",
      answered("azure", "mirror", { version: at(2, AWS, 101) }),
      EVEN_IF_ALIVE,
      /azure has applied more \(epoch 2 sequence 101, here epoch 2 sequence 100\).*--discard azure/,
    ],
    [
      "what the other mirror has more is given up",
      answered("azure", "mirror", { version: at(2, AWS, 101) }),
      { evenIfAlive: false, discard: ["azure"] },
      undefined,
    ],
    [
      "a single member has applied more, although no leader speaks for it",
      member("aws", at(2, AWS, 101)),
      EVEN_IF_ALIVE,
      /aws has applied more .*--discard aws/,
    ],
    ["a single member has applied as much", member("aws", at(2, AWS, 100)), NONE, undefined],
    [
      "another region is in a later epoch",
      answered("azure", "fenced", { version: at(16, AWS, 50) }),
      NONE,
      /applied more/,
    ],
    [
      "the primary asked for clearance, and is out of reach now",
      { clearanceAskedMs: 9_999 },
      NONE,
      /aws asked 9 s ago whether it may serve, .*try again in 1 s; --even-if-alive/,
    ],
    ["that is not waited for", { clearanceAskedMs: 9_999 }, EVEN_IF_ALIVE, undefined],
    ["the primary asked for clearance long ago", { clearanceAskedMs: 10_000 }, NONE, undefined],
    [
      "the primary asked for clearance, and was fenced since",
      { clearanceAskedMs: 0, ...answered("aws", "fenced") },
      NONE,
      undefined,
    ],
  ];
  test.each(cases.map(([what, ...rest]) => [what, rest] as const))("%s", (_, [found, overrides, refusal, end = []]) => {
    const candidate = { ...GCP_ALONE, ...found };
    if (refusal === undefined) expect(refusalOf(candidate, overrides)).toBeUndefined();
    else expect(refusalOf(candidate, overrides)).toMatch(refusal);
    expect(regionsToEnd(candidate)).toEqual(end);
  });

  test.each<[what: string, found: Partial<Candidate>, number: number]>([
    ["its own epoch", {}, 16],
    ["its own epoch, with one number left out", { version: at(15, AWS, 1) }, 32],
    ["the epoch that it was fenced for", { fence: epochCode(32, AWS) }, 48],
    ["the epoch that it has heard of", { heard: at(17, AWS, 1) }, 32],
    ["another region's epoch", answered("azure", "mirror", { version: at(48, AWS, 1) }), 64],
    ["what another region was fenced for", answered("azure", "fenced", { fence: epochCode(64, AWS) }), 80],
    ["a member's epoch", member("azure", at(31, AWS, 1)), 48],
  ])("begins an epoch after %s", (_, found, number) => {
    expect(epochOf({ ...GCP_ALONE, ...found })).toBe(epochCode(number, GCP));
  });
});

test("of two promotions that do not know of each other, the one of the higher region has the later epoch", () => {
  expect(epochOf(GCP_ALONE)).toBeGreaterThan(epochOf({ ...GCP_ALONE, region: "azure", regionIndex: AWS }));
});
