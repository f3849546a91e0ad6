import { parseArgs } from "node:util";
import { runCloud } from "../run-cloud.ts";
import { startGcsServer } from "./server.ts";

const { values } = parseArgs({
  options: {
    dir: { type: "string" },
    port: { type: "string", default: "0" },
    host: { type: "string", default: "127.0.0.1" },
    bucket: { type: "string", multiple: true, default: [] },
  },
});

await runCloud(async () => {
  const { dir: directory, bucket: buckets, host } = values;
  if (directory === undefined || buckets.length === 0) throw new Error("--dir and --bucket are needed");
  const server = await startGcsServer({ directory, buckets, host, port: Number(values.port) });
  return { server, ready: { endpoint: server.endpoint, credentials: server.credentials } };
});
