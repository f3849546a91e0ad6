/**
 * What mirrorfs asks of a bucket: immutable objects, created once, verified end to end with CRC-32C.
 * Every implementation passes the suite in test/object-store/conformance.ts.
 */
export interface ObjectStore {
  /** The bucket's URL as configured, without credentials: for messages. */
  readonly url: string;

  /**
   * Creates an object; never replaces one. The service checks `crc32c` before it stores anything.
   * An object that is there already with the same length and checksum is success ("exists"): a retry.
   * @throws ObjectStoreError `conflict` when another content is there; `corrupt` when the checksum was refused.
   */
  create(
    key: string,
    body: Uint8Array,
    options: { crc32c: number; signal?: AbortSignal },
  ): Promise<"created" | "exists">;

  /**
   * Reads an object, or `length` bytes of it from `offset`.
   * A whole object is checked against the checksum that the service states; a range is the caller's to check.
   * `into`: room of that length; a store that reads into memory of the caller's choice puts the bytes there and returns
   * that, any other returns memory of its own.
   * @throws ObjectStoreError `notFound`, `corrupt` (also for a body that was cut), `range`.
   */
  read(
    key: string,
    options?: { offset?: number; length?: number; into?: Uint8Array; signal?: AbortSignal },
  ): Promise<Uint8Array>;

  /** Length and stated checksum, without the body. `undefined` when there is no such object. */
  head(key: string, options?: { signal?: AbortSignal }): Promise<ObjectHead | undefined>;

  /** Deletes; an object that is not there is success. */
  delete(key: string, options?: { signal?: AbortSignal }): Promise<void>;

  /** All keys under a prefix, in order, page by page. An error ends the iteration by a throw, never by a short listing. */
  list(prefix: string, options?: { after?: string; signal?: AbortSignal }): AsyncIterable<ListedObject>;

  /** Copies inside one service without moving the bytes through here; `undefined` where that cannot be done. */
  copyFrom?(
    source: ObjectStore,
    key: string,
    options: { crc32c: number; bytes: number; signal?: AbortSignal },
  ): Promise<"created" | "exists" | undefined>;

  /**
   * Checks that the bucket exists and that the credentials are accepted.
   * @throws ObjectStoreError `noBucket`, `denied` or `unavailable`; its message is one line for the user: which bucket, why,
   * and the remedy.
   */
  probe(options?: { signal?: AbortSignal }): Promise<void>;

  /** What is under way ends, or is broken off, before it resolves. */
  close(): Promise<void>;
}

export interface ObjectHead {
  readonly bytes: number;
  /** As the service states it; `undefined` where it keeps none (an object made by other means). */
  readonly crc32c: number | undefined;
}

export interface ListedObject {
  readonly key: string;
  readonly bytes: number;
}

/** `unavailable`, `slowDown` and `timeout` are worth a retry; the others are not. */
export type ObjectStoreErrorCode =
  | "notFound"
  | "conflict"
  | "corrupt"
  | "range"
  | "denied"
  | "noBucket"
  | "full"
  | "slowDown"
  | "timeout"
  | "unavailable"
  | "aborted";

/** Made at the boundary to the vendor's SDK, which stays in `cause`. */
export class ObjectStoreError extends Error {
  override readonly name = "ObjectStoreError";
  readonly code: ObjectStoreErrorCode;

  constructor(code: ObjectStoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return this.code === "unavailable" || this.code === "slowDown" || this.code === "timeout";
  }
}
