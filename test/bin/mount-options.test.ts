import { expect, test } from "vitest";
import { parseMountOptions as parseWritten } from "../../bin/mount-options.ts";
import { parseMountOptions } from "../../client/volume/options.ts";

const options = (list: string) => parseMountOptions(parseWritten(list));

test("options for the kernel are kept for it, and those for fstab alone are ignored (defect 31)", () => {
  const line =
    "rw,defaults,async,noatime,nosuid,nodev,relatime,_netdev,nofail,auto,x-systemd.automount,readTimeoutMs=500";
  expect(options(line)).toMatchObject({
    kernelFlags: ["noatime", "nosuid", "nodev", "relatime"],
    readTimeoutMs: 500,
  });
  expect(options(line).readOnly).toBeUndefined();
  expect(options("ro,allow_other")).toMatchObject({ kernelFlags: [], readOnly: true, allowOther: true });
});

test("an unknown option, and a value where none belongs, are refused by name (defect 31)", () => {
  expect(() => options("nosuid,sync")).toThrow('unknown mount option "sync"');
  expect(() => options("nosuid=1")).toThrow("mount option nosuid: takes no value");
});
