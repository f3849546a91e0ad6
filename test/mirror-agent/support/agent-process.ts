import { text } from "node:stream/consumers";
import pino from "pino";
import { runAgent } from "../../../mirror-agent/main.ts";

const { description, options } = JSON.parse(await text(process.stdin));
const volume = { ...description, regions: new Map(description.regions) };
await runAgent({ volume, region: "gcp", logger: pino({ level: "silent" }), ...options });
