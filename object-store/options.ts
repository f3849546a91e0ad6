/** How a store behaves; the defaults are right for blocks of 4 MiB between a region and its own bucket. */
export interface ObjectStoreOptions {
  /** Connections to the service at most; requests above wait. */
  readonly sockets?: number;
  /** Tries of one operation, the first included. */
  readonly attempts?: number;
  readonly connectTimeoutMs?: number;
  /** A connection on which no byte moves for so long is given up. */
  readonly idleTimeoutMs?: number;
  /** One operation, all its tries and the waits between them. */
  readonly totalTimeoutMs?: number;
  /** Keys asked for in one page of a listing. */
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
