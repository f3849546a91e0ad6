import { parseBucketUrl } from "../base/bucket-url.ts";
import { UserError } from "../base/user-error.ts";
import { FileObjectStore } from "./file.ts";
import { GsObjectStore } from "./gs.ts";
import type { ObjectStore } from "./object-store.ts";
import type { ObjectStoreOptions } from "./options.ts";
import { S3ObjectStore } from "./s3.ts";

/**
 * Opens the bucket that a URL names (base/bucket-url.ts). Sends no request yet: `probe()` does.
 * @throws UserError for a URL that names no bucket.
 */
export function openObjectStore(url: string, options?: ObjectStoreOptions): ObjectStore {
  const where = parseBucketUrl(url);
  switch (where.service) {
    case "file":
      return new FileObjectStore(where);
    case "s3":
      return new S3ObjectStore(where, options);
    case "gs":
      return new GsObjectStore(where, options);
    case undefined:
      throw new UserError(`bucket ${where.url} ${where.problem}`, 2);
  }
}
