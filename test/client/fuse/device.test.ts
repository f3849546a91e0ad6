import fs from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { Device } from "../../../client/fuse/device.ts";
import { ReadBuffers } from "../../../client/fuse/read-buffers.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test("an error of a reply's write says whether the kernel still waits: not so after an abort, but for want of memory (defect 12)", async () => {
  const fd = fs.openSync("/dev/null", "r+");
  const device = new Device(fd, { buffers: new ReadBuffers(4096), receive: () => false, engine: "pool" });
  const sends = (code: string) => {
    vi.spyOn(fs, "writevSync").mockImplementation(() => {
      throw Object.assign(new Error(code), { code });
    });
    return device.send([Buffer.alloc(16), Buffer.alloc(1)]);
  };
  expect(["ENOENT", "ENODEV", "ECONNABORTED"].map(sends)).toEqual(["gone", "gone", "gone"]);
  expect(["ENOMEM", "EFAULT", "EINVAL"].map(sends)).toEqual([
    { refused: "ENOMEM" },
    { refused: "EFAULT" },
    { refused: "EINVAL" },
  ]);
  await device.ended;
  device.close();
  expect(device.send([Buffer.alloc(16)])).toBe("gone");
});
