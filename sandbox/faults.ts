/** What a request does, independent of the service's protocol. */
const OPERATIONS = ["create", "read", "head", "delete", "list", "copy", "other"] as const;
export type OperationName = (typeof OPERATIONS)[number];

export type Fault =
  /** 503 in the service's own format. */
  | { kind: "unavailable" }
  /** Throttling: S3's 503 SlowDown, GCS's 429. */
  | { kind: "slowDown" }
  /** The connection is closed after `afterBytes` of the body, of the response or of an upload. */
  | { kind: "cutBody"; afterBytes: number }
  /** One bit of the body is flipped, in the response, or in an upload before its checksums are verified. */
  | { kind: "wrongBytes" }
  /** The request is executed, but the connection is reset instead of the response: a retry finds its own effect. */
  | { kind: "loseAnswer" }
  /** No response. */
  | { kind: "hang" }
  | { kind: "latency"; ms: number }
  /** The connection is reset before the request is handled: the bucket is unreachable. */
  | { kind: "refuse" };

export interface FaultRule {
  readonly fault: Fault;
  /** The fault applies to requests that match all of these; by default to every request. */
  readonly operation?: OperationName;
  readonly method?: string;
  /** A regular expression that the key (of a listing: the prefix) must match. */
  readonly key?: string;
  /** How many matching requests to let pass first, and how many to hit after that (default: all). */
  readonly skip?: number;
  readonly count?: number;
}

/** The numeric parameter of each kind of fault. */
const NUMBER_OF: { [K in Fault["kind"]]: "afterBytes" | "ms" | undefined } = {
  unavailable: undefined,
  slowDown: undefined,
  cutBody: "afterBytes",
  wrongBytes: undefined,
  loseAnswer: undefined,
  hang: undefined,
  latency: "ms",
  refuse: undefined,
};

const RULE_KEYS = ["fault", "operation", "method", "key", "skip", "count"];

/** Validates a rule. @throws Error that says what is wrong. */
export function checkFaultRule(input: unknown): FaultRule {
  const rule = (input ?? {}) as Record<string, unknown>;
  const fault = (rule.fault ?? {}) as Record<string, unknown>;
  const unknown = Object.keys(rule).find((key) => !RULE_KEYS.includes(key));
  if (unknown !== undefined) throw new Error(`unknown key "${unknown}"`);
  if (!Object.hasOwn(NUMBER_OF, String(fault.kind))) throw new Error(`unknown fault "${fault.kind}"`);
  const number = NUMBER_OF[fault.kind as Fault["kind"]];
  if (number !== undefined && !isCount(fault[number])) throw new Error(`"${fault.kind}" needs the number "${number}"`);
  if (rule.operation !== undefined && !OPERATIONS.includes(rule.operation as OperationName)) {
    throw new Error(`unknown operation "${rule.operation}": must be one of ${OPERATIONS.join(", ")}`);
  }
  for (const key of ["skip", "count"]) {
    if (rule[key] !== undefined && !isCount(rule[key])) throw new Error(`"${key}" is not a count`);
  }
  return input as FaultRule;
}

function isCount(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

export interface RequestTraits {
  readonly operation: OperationName;
  readonly method: string;
  readonly key: string;
}

interface ActiveRule {
  readonly id: number;
  readonly rule: FaultRule;
  readonly pattern: RegExp | undefined;
  spared: number;
  hits: number;
}

/** The fault rules of one server. A test should check `hits`: a fault that hit nothing has tested nothing. */
export class Faults {
  readonly #rules = new Map<number, ActiveRule>();
  #lastId = 0;

  /** @returns the rule's id. */
  add(rule: FaultRule): number {
    const pattern = rule.key === undefined ? undefined : new RegExp(rule.key);
    const id = ++this.#lastId;
    this.#rules.set(id, { id, rule, pattern, spared: 0, hits: 0 });
    return id;
  }

  remove(id: number): boolean {
    return this.#rules.delete(id);
  }

  clear(): void {
    this.#rules.clear();
  }

  hits(id: number): number {
    return this.#rules.get(id)?.hits ?? 0;
  }

  rules(): { id: number; rule: FaultRule; hits: number }[] {
    return [...this.#rules.values()].map(({ id, rule, hits }) => ({ id, rule, hits }));
  }

  /** The faults to apply to this request; counts them as hits. */
  take(request: RequestTraits): Fault[] {
    const taken: Fault[] = [];
    for (const active of this.#rules.values()) {
      if (!matches(active, request)) continue;
      if (active.spared < (active.rule.skip ?? 0)) active.spared++;
      else if (active.hits < (active.rule.count ?? Number.POSITIVE_INFINITY)) {
        active.hits++;
        taken.push(active.rule.fault);
      }
    }
    return taken;
  }
}

function matches({ rule, pattern }: ActiveRule, request: RequestTraits): boolean {
  if (rule.operation !== undefined && rule.operation !== request.operation) return false;
  if (rule.method !== undefined && rule.method !== request.method) return false;
  return pattern === undefined || pattern.test(request.key);
}
