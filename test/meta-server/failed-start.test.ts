import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import type { VolumeDescription } from "../../config/volume-description.ts";
import type { openGroup } from "../../consensus/raft-group.ts";
import { runMetaServer } from "../../meta-server/main.ts";
import { choosePort } from "../../sandbox/ports.ts";
import { logger } from "./harness.ts";

let isBroken = true;

vi.mock("../../consensus/raft-group.ts", async (original) => {
  const real = (await original()) as { openGroup: typeof openGroup };
  return {
    openGroup: (...options: Parameters<typeof openGroup>) =>
      isBroken ? Promise.reject(new Error("the log is broken")) : real.openGroup(...options),
  };
});

let dataDir: string;

afterEach(() => rm(dataDir, { recursive: true, force: true }));

test("a server whose group cannot be opened leaves its port and its data directory free", async () => {
  dataDir = await mkdtemp(join(tmpdir(), "mirrorfs-start-"));
  const region = {
    name: "aws",
    meta: [`127.0.0.1:${await choosePort()}`],
    bucket: "file:///nowhere",
    queue: "redis://x:1",
  };
  const volume: VolumeDescription = {
    volume: "test",
    regions: new Map([["aws", region]]),
    primary: "aws",
    changelog: { retainHours: 24, retainGib: 10 },
    startAlone: "serve",
    startAloneWaitMs: 1_000,
    gc: { graceMs: 0 },
  };
  const start = () => runMetaServer({ volume, region: "aws", member: 1, dataDir, logger });
  await expect(start()).rejects.toThrow("the log is broken");
  isBroken = false;
  const server = await start();
  await server.stop();
});
