import { describe, expect, test } from "vitest";
import { conformance, type Deviation } from "./conformance.ts";
import type { Harness } from "./harness.ts";
import { fakeGcsHarness, isInstalled, minioHarness, type RealServer, versitygwHarness } from "./real-servers.ts";

/** Each server, with its known violations of the suite. */
const SERVERS: { [S in RealServer]: { start: () => Promise<Harness>; deviations: readonly Deviation[] } } = {
  versitygw: { start: versitygwHarness, deviations: [] },
  minio: { start: minioHarness, deviations: [] },
  "fake-gcs-server": { start: fakeGcsHarness, deviations: ["copies in spite of the precondition"] },
};

describe("third-party servers", () => {
  const names = Object.keys(SERVERS) as RealServer[];
  const missing = names.filter((name) => !isInstalled(name));

  const required = process.env.MIRRORFS_REQUIRE_REAL_SERVERS?.split(" ");
  if (required !== undefined) {
    test("are installed where they are required", () => {
      expect(missing.filter((name) => required.includes(name))).toEqual([]);
    });
  }

  for (const name of names) {
    if (missing.includes(name)) test.skip(`${name}: test/object-store/install-real-servers.sh builds it`, () => {});
    else conformance(name, SERVERS[name].start, SERVERS[name].deviations);
  }
});
