import { parseArgs } from "node:util";
import { runCloud } from "../run-cloud.ts";
import { startS3Server } from "./server.ts";

const { values } = parseArgs({
  options: {
    dir: { type: "string" },
    port: { type: "string", default: "0" },
    host: { type: "string", default: "127.0.0.1" },
    bucket: { type: "string", multiple: true, default: [] },
    region: { type: "string", default: "us-east-1" },
  },
});

await runCloud(async () => {
  const { dir: directory, bucket: buckets, host, region } = values;
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env;
  if (directory === undefined || buckets.length === 0) throw new Error("--dir and --bucket are needed");
  if (!accessKeyId || !secretAccessKey) throw new Error("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed");
  const port = Number(values.port);
  const server = await startS3Server({ directory, buckets, host, port, region, accessKeyId, secretAccessKey });
  return { server, ready: { endpoint: server.endpoint } };
});
