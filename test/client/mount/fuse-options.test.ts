import { expect, test } from "vitest";
import { fuseOptions } from "../../../client/mount/main.ts";
import { parseMountOptions } from "../../../client/volume/options.ts";

test("mount options for the kernel reach the kernel's side, with how long a missing name is cached (defect 12)", () => {
  const written = { negativeEntryValidMs: "2500", readAheadKb: "64", ro: "", noatime: "", readTimeoutMs: "1000" };
  expect(fuseOptions(parseMountOptions(written))).toEqual({
    ...{ negativeEntryValidMs: 2500, readAheadKb: 64, readOnly: true, allowOther: undefined },
    ...{ kernelFlags: ["noatime"], requestDeadlineMs: 181_000 },
  });
  expect(fuseOptions(parseMountOptions({})).negativeEntryValidMs).toBe(0);
});
