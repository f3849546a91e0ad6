import { pino } from "pino";
import { runMount } from "../../../client/mount/main.ts";
import { runMetaServer } from "../../../meta-server/main.ts";
import { singleRegion } from "./volume.ts";

/**
 * A process with one metadata server and a mount of its volume. Programs that use the mount must run in other
 * processes. Arguments: directory, port, mount point, options as JSON. Prints "ready"; unmounts when its standard input
 * ends.
 */
const [dir, port, mountPoint, options] = process.argv.slice(2);
const volume = singleRegion(dir!, Number(port));
const logger = pino({ level: process.env.MIRRORFS_TEST_LOG ?? "warn" }, pino.destination(2));
const meta = await runMetaServer({ volume, region: "aws", member: 1, dataDir: `${dir}/meta`, logger });
const mount = await runMount({
  volume,
  region: "aws",
  mountPoint: mountPoint!,
  options: JSON.parse(options ?? "{}"),
  logger,
});
process.stdout.write("ready\n");
process.stdin.resume();
process.stdin.once("end", async () => {
  await mount.stop();
  await meta.stop();
  process.exit(0);
});
