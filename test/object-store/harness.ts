import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { crc32c } from "../../base/crc32c.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { openObjectStore } from "../../object-store/open.ts";
import type { ObjectStoreOptions } from "../../object-store/options.ts";
import type { Faults } from "../../sandbox/faults.ts";
import { startGcsServer } from "../../sandbox/gcs/server.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";

/** Two buckets of one service. */
export interface Harness {
  open(options?: ObjectStoreOptions): ObjectStore;
  openSecond(): ObjectStore;
  openMissing(): ObjectStore;
  readonly faults?: Faults;
  stop(): Promise<void>;
}

export const BUCKETS = ["mirrorfs-first", "mirrorfs-second"] as const;
export const S3_ACCOUNT = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG", region: "us-east-1" };

export function temporaryDirectory(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(path.join(tmpdir(), "mirrorfs-store-"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** A harness over the URLs of two buckets; what was opened is closed at the end. */
export function harnessOf(
  urlOf: (bucket: string) => string,
  stop: () => Promise<void> | void,
  faults?: Faults,
): Harness {
  const opened: ObjectStore[] = [];
  const open = (bucket: string, options?: ObjectStoreOptions) => {
    const store = openObjectStore(urlOf(bucket), options);
    opened.push(store);
    return store;
  };
  return {
    open: (options) => open(BUCKETS[0], options),
    openSecond: () => open(BUCKETS[1]),
    openMissing: () => open("mirrorfs-missing", { attempts: 1 }),
    faults,
    async stop() {
      await Promise.all(opened.map((store) => store.close()));
      await stop();
    },
  };
}

export async function s3Harness(): Promise<Harness> {
  const { dir, remove } = temporaryDirectory();
  useS3Account();
  const server = await startS3Server({ directory: dir, buckets: BUCKETS, ...S3_ACCOUNT });
  const urlOf = (bucket: string) => `s3://${bucket}?region=us-east-1&endpoint=${server.endpoint}`;
  return harnessOf(urlOf, () => server.stop().then(remove), server.faults);
}

export function useS3Account(): void {
  process.env.AWS_ACCESS_KEY_ID = S3_ACCOUNT.accessKeyId;
  process.env.AWS_SECRET_ACCESS_KEY = S3_ACCOUNT.secretAccessKey;
}

export async function gcsHarness(): Promise<Harness> {
  const { dir, remove } = temporaryDirectory();
  const server = await startGcsServer({ directory: dir, buckets: BUCKETS });
  useGoogleKey(dir, server.credentials);
  const urlOf = (bucket: string) => `gs://${bucket}?endpoint=${server.endpoint}`;
  return harnessOf(urlOf, () => server.stop().then(remove), server.faults);
}

export function useGoogleKey(dir: string, credentials: object): void {
  const file = path.join(dir, "google.json");
  writeFileSync(file, JSON.stringify(credentials));
  process.env.GOOGLE_APPLICATION_CREDENTIALS = file;
}

/** A body with its checksum. */
export function block(bytes: number): { body: Buffer; crc: number } {
  const body = randomBytes(bytes);
  return { body, crc: crc32c(body) };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
