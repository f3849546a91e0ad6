import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../../base/user-error.ts";
import { readVolumeFile } from "../../config/volume-file.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-volume-file-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

const GOOD = `volume: imagenet
regions:
  aws: { meta: ["10.0.0.1:7400"], bucket: "s3://train-us?region=us-east-1", queue: "redis://10.0.0.9:6379" }
  gcp: { meta: ["10.1.0.1:7400"], bucket: "gs://train-eu", queue: "redis://10.1.0.9:6379" }
primary: aws
`;

function read(text: string) {
  const path = join(dir, "volume.yaml");
  writeFileSync(path, text);
  return readVolumeFile(path);
}

function lineOf(text: string): string {
  try {
    read(text);
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).exitCode).toBe(2);
    return (error as UserError).message.replace(`${dir}/`, "");
  }
  throw new Error("the file was accepted");
}

it("reads a volume, with defaults for missing keys", () => {
  const volume = read(GOOD);
  expect([...volume.regions.keys()]).toEqual(["aws", "gcp"]);
  expect(volume.regions.get("gcp")).toEqual({
    name: "gcp",
    meta: ["10.1.0.1:7400"],
    bucket: "gs://train-eu",
    queue: "redis://10.1.0.9:6379",
  });
  expect(volume).toMatchObject({ volume: "imagenet", primary: "aws", startAlone: "serve", startAloneWaitMs: 30_000 });
  expect(volume.changelog).toEqual({ retainHours: 72, retainGib: 10 });
});

it("accepts one of the changelog's two bounds", () => {
  expect(read(`${GOOD}changelog: { retain: { gib: 2 } }\n`).changelog).toEqual({ retainHours: 72, retainGib: 2 });
});

it("enables reads under a lease only where the file does", () => {
  expect(read(GOOD).readLease).toBeUndefined();
  expect(read(`${GOOD}reads: { lease: false }\n`).readLease).toBeUndefined();
  expect(read(`${GOOD}reads: { lease: true }\n`).readLease).toEqual({ clockDriftPercent: 10 });
  expect(read(`${GOOD}reads: { lease: true, clockDriftPercent: 5 }\n`).readLease).toEqual({ clockDriftPercent: 5 });
});

describe("names the wrong key and the problem in one line", () => {
  const cases: [string, (good: string) => string, string][] = [
    ["unknown key", (it) => it.replace("bucket:", "bukcet:"), "volume.yaml: regions.aws.bukcet: unknown key"],
    ["unknown key at the top", (it) => `${it}mirrors: 2\n`, "volume.yaml: mirrors: unknown key"],
    [
      "unknown key in a region",
      (it) => it.replace("{ meta", "{ rack: 1, meta"),
      "volume.yaml: regions.aws.rack: unknown key",
    ],
    ["missing regions", () => "volume: a\nprimary: aws\n", "volume.yaml: regions: is missing"],
    [
      "no region",
      () => "volume: a\nregions: {}\nprimary: aws\n",
      "volume.yaml: regions: must name at least one region",
    ],
    [
      "unknown primary",
      (it) => it.replace("primary: aws", "primary: azure"),
      "volume.yaml: primary: there is no region 'azure' (regions: aws, gcp)",
    ],
    [
      "only removed members",
      (it) => it.replace('["10.0.0.1:7400"]', '["-", "-"]'),
      "volume.yaml: regions.aws.meta: must name 1 to 7 metadata servers",
    ],
    [
      "address without a port",
      (it) => it.replace("10.0.0.1:7400", "10.0.0.1"),
      "volume.yaml: regions.aws.meta[0]: must be host:port",
    ],
    [
      "same address twice",
      (it) => it.replace("10.1.0.1:7400", "10.0.0.1:7400"),
      "volume.yaml: regions.gcp.meta[0]: 10.0.0.1:7400 is already regions.aws.meta[0]",
    ],
    [
      "invalid bucket",
      (it) => it.replace("gs://train-eu", "ftp://train-eu"),
      "volume.yaml: regions.gcp.bucket: must be file:///dir, s3://name?region=… or gs://name",
    ],
    [
      "invalid queue",
      (it) => it.replace("redis://10.1.0.9:6379", "10.1.0.9:6379"),
      "volume.yaml: regions.gcp.queue: must be redis://host:port",
    ],
    [
      "credentials in a bucket",
      (it) => it.replace("s3://train-us", "s3://key:secret@train-us"),
      "volume.yaml: regions.aws.bucket: must hold no credentials: they come from the environment",
    ],
    [
      "missing key",
      (it) => it.replace(', queue: "redis://10.1.0.9:6379"', ""),
      "volume.yaml: regions.gcp.queue: is missing",
    ],
    [
      "clock bound of zero",
      (it) => `${it}reads: { lease: true, clockDriftPercent: 0 }\n`,
      "volume.yaml: reads.clockDriftPercent: Too small: expected number to be >0",
    ],
    ["not a map", () => "just text\n", "volume.yaml: must be a map"],
  ];
  it.each(cases)("%s", (_, change, line) => {
    expect(lineOf(change(GOOD)).split("\n")).toEqual([line]);
  });

  it("invalid YAML, with line and column", () => {
    expect(lineOf("volume: a\nregions: {aws: \n")).toMatch(/^volume\.yaml: line \d+, column \d+: /);
  });

  it("a file that does not exist", () => {
    expect(() => readVolumeFile(join(dir, "none.yaml"))).toThrow(`${join(dir, "none.yaml")}: no such file`);
  });
});
