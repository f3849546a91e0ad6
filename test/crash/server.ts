/** Runs one metadata server: `server.ts JSON`, where JSON is a `ServerOptions`. */
import pino from "pino";
import type { GroupTuning } from "../../consensus/runtime/tuning.ts";
import { runMetaServer } from "../../meta-server/main.ts";
import { describeVolume } from "./describe-volume.ts";

export interface ServerOptions {
  readonly meta: Readonly<Record<string, readonly string[]>>;
  readonly region: string;
  readonly member: number;
  readonly dataDir: string;
  readonly tuning: Partial<GroupTuning>;
}

const { meta, region, member, dataDir, tuning } = JSON.parse(process.argv[2]!) as ServerOptions;
const logger = pino({ level: process.env.TEST_LOG ?? "silent" }, pino.destination(2)).child({
  at: `${region}/${member}`,
});
const volume = describeVolume(meta);
const server = await runMetaServer({ volume, region, member, dataDir, logger, groupTuning: tuning });
process.on("SIGTERM", () => void server.stop().then(() => process.exit(0)));
