import { parseArgs } from "node:util";
import { CLOUD_OPTIONS, runCloud } from "../run-cloud.ts";
import { startGcsServer } from "./server.ts";

const { values } = parseArgs({ options: CLOUD_OPTIONS });

await runCloud(values, async (options) => {
  const server = await startGcsServer(options);
  return { server, ready: { endpoint: server.endpoint, credentials: server.credentials } };
});
