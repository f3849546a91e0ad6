import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { startGcsServer } from "../../sandbox/gcs/server.ts";
import { choosePort } from "../../sandbox/ports.ts";
import {
  BUCKETS,
  type Harness,
  harnessOf,
  S3_ACCOUNT,
  temporaryDirectory,
  useGoogleKey,
  useS3Account,
} from "./harness.ts";

/** Third-party servers; test/object-store/install-real-servers.sh builds them. */
export type RealServer = "versitygw" | "minio" | "fake-gcs-server";

export function binaryOf(server: RealServer): string {
  const dir = process.env.MIRRORFS_REAL_SERVERS ?? path.join(homedir(), ".cache/mirrorfs-real-servers");
  return path.join(dir, server);
}

export const isInstalled = (server: RealServer) => existsSync(binaryOf(server));

export async function versitygwHarness(): Promise<Harness> {
  const place = temporaryDirectory();
  const port = await choosePort();
  const { accessKeyId, secretAccessKey, region } = S3_ACCOUNT;
  for (const bucket of BUCKETS) mkdirSync(path.join(place.dir, bucket));
  const account = ["--access", accessKeyId, "--secret", secretAccessKey, "--region", region];
  const stop = await run("versitygw", [...account, "--port", `127.0.0.1:${port}`, "posix", place.dir], port!);
  return s3At(port!, () => stop().then(place.remove));
}

export async function minioHarness(): Promise<Harness> {
  const place = temporaryDirectory();
  const port = await choosePort();
  const { accessKeyId, secretAccessKey, region } = S3_ACCOUNT;
  const environment = { MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey, MINIO_REGION: region };
  const stop = await run(
    "minio",
    ["server", "--quiet", "--address", `127.0.0.1:${port}`, place.dir],
    port!,
    environment,
  );
  const client = new S3Client({
    region,
    endpoint: `http://127.0.0.1:${port}`,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 10,
  });
  for (const Bucket of BUCKETS) await client.send(new CreateBucketCommand({ Bucket }));
  client.destroy();
  return s3At(port!, () => stop().then(place.remove));
}

function s3At(port: number, stop: () => Promise<void>): Harness {
  useS3Account();
  return harnessOf((bucket) => `s3://${bucket}?region=us-east-1&endpoint=http://127.0.0.1:${port}`, stop);
}

/** It checks no tokens; the local GCS server issues those that our client needs. */
export async function fakeGcsHarness(): Promise<Harness> {
  const place = temporaryDirectory();
  const port = await choosePort();
  const where = ["-scheme", "http", "-host", "127.0.0.1", "-port", String(port), "-filesystem-root", place.dir];
  const stop = await run("fake-gcs-server", [...where, "-public-host", `127.0.0.1:${port}`], port!);
  for (const name of BUCKETS) {
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name }) };
    await fetch(`http://127.0.0.1:${port}/storage/v1/b`, init);
  }
  const key = temporaryDirectory();
  const tokens = await startGcsServer({ directory: key.dir, buckets: [] });
  useGoogleKey(key.dir, tokens.credentials);
  return harnessOf(
    (bucket) => `gs://${bucket}?endpoint=http://127.0.0.1:${port}`,
    async () => {
      await Promise.all([stop(), tokens.stop()]);
      place.remove();
      key.remove();
    },
  );
}

/** Starts a server and waits until it answers. @returns a function that ends it. */
async function run(server: RealServer, args: string[], port: number, environment = {}): Promise<() => Promise<void>> {
  const env = { ...process.env, ...environment };
  const child = spawn(binaryOf(server), args, { env, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (piece) => {
    stderr = `${stderr}${piece}`.slice(-2_000);
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`${server} ended: ${stderr}`);
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answered) {
      return () => {
        child.kill("SIGKILL");
        return ended;
      };
    }
    await delay(100);
  }
  child.kill("SIGKILL");
  throw new Error(`${server} does not answer: ${stderr}`);
}
