import { parseArgs } from "node:util";
import { CLOUD_OPTIONS, runCloud } from "../run-cloud.ts";
import { startS3Server } from "./server.ts";

const { values } = parseArgs({
  options: { ...CLOUD_OPTIONS, region: { type: "string", default: "us-east-1" } },
});

await runCloud(values, async (options) => {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env;
  if (!accessKeyId || !secretAccessKey) throw new Error("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set");
  const server = await startS3Server({ ...options, region: values.region, accessKeyId, secretAccessKey });
  return { server, ready: { endpoint: server.endpoint } };
});
