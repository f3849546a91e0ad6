/**
 * A bucket as mirrorfs uses it: immutable objects, created once, verified end to end with CRC-32C.
 * Every implementation passes the suite in test/object-store/conformance.ts.
 */
export interface ObjectStore {
  /** The bucket's URL as configured, without credentials: for messages. */
  readonly url: string;

  /**
   * Creates an object; never replaces one. The service checks `crc32c` before it stores anything.
   * @returns "exists" when an object with the same length and checksum exists already, as after a retry.
   * @throws ObjectStoreError `conflict` when other content exists; `corrupt` when the bytes do not match the checksum.
   */
  create(
    key: string,
    body: Uint8Array,
    options: { crc32c: number; signal?: AbortSignal },
  ): Promise<"created" | "exists">;

  /**
   * Reads an object, or `length` bytes of it from `offset`.
   * A whole object is checked against the checksum that the service states; the caller checks a range.
   * `into`: a buffer of exactly that length, which a store may fill and return; others return a buffer of their own.
   * @throws ObjectStoreError `notFound`, `corrupt` (also for a truncated body), `range`.
   */
  read(
    key: string,
    options?: { offset?: number; length?: number; into?: Uint8Array; signal?: AbortSignal },
  ): Promise<Uint8Array>;

  /** Length and stated checksum, without the body. `undefined` when there is no such object. */
  head(key: string, options?: { signal?: AbortSignal }): Promise<ObjectHead | undefined>;

  /** Deletes an object. Succeeds when there is none. */
  delete(key: string, options?: { signal?: AbortSignal }): Promise<void>;

  /** All keys with a prefix, above `after`, in byte order. After an error the iteration throws: a listing is never cut short. */
  list(prefix: string, options?: { after?: string; signal?: AbortSignal }): AsyncIterable<ListedObject>;

  /** Copies an object from another bucket of the same service, without reading it; `undefined` where that is not possible. */
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

  /** Resolves when all operations have ended or were aborted. */
  close(): Promise<void>;
}

export interface ObjectHead {
  readonly bytes: number;
  /** As the service states it; `undefined` when it has none (an object that was uploaded by other means). */
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

/** The only error of an ObjectStore; the vendor's error is its `cause`. */
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
