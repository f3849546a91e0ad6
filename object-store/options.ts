/** Limits of a store. The defaults suit blocks of 4 MiB between a region and its own bucket. */
export interface ObjectStoreOptions {
  /** Most connections to the service; further requests wait. */
  readonly sockets?: number;
  /** Attempts of one operation, including the first. */
  readonly attempts?: number;
  readonly connectTimeoutMs?: number;
  /** A connection on which no byte moves for this long is closed. */
  readonly idleTimeoutMs?: number;
  /** For one operation, with all its attempts and the pauses between them. */
  readonly totalTimeoutMs?: number;
  /** Keys in one page of a listing. */
  readonly pageKeys?: number;
}

export type Limits = Required<ObjectStoreOptions>;

const DEFAULTS: Limits = {
  sockets: 64,
  attempts: 5,
  connectTimeoutMs: 5_000,
  idleTimeoutMs: 15_000,
  totalTimeoutMs: 60_000,
  pageKeys: 1_000,
};

export function limitsOf(options: ObjectStoreOptions = {}): Limits {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given) };
}
