/** What a request does, in the words of the object stores. */
const OPERATIONS = ["create", "read", "head", "delete", "list", "copy", "other"] as const;
export type OperationName = (typeof OPERATIONS)[number];

export type Fault =
  /** 503 in the service's own format. */
  | { kind: "unavailable" }
  /** The service's request to slow down: S3's 503 SlowDown, GCS's 429. */
  | { kind: "slowDown" }
  /** The connection is closed after so many bytes of the body, of the answer or of an upload. */
  | { kind: "cutBody"; afterBytes: number }
  /** One bit of the body is turned: of the answer, or of an upload before it is checked. */
  | { kind: "wrongBytes" }
  /** The request is carried out, and the connection is reset instead of the answer: a retry finds its own work. */
  | { kind: "loseAnswer" }
  /** No answer at all. */
  | { kind: "hang" }
  | { kind: "latency"; ms: number }
  /** The connection is reset before anything is read of the request: the bucket is cut off. */
  | { kind: "refuse" };

export interface FaultRule {
  readonly fault: Fault;
  /** Which requests: all where nothing is said. */
  readonly operation?: OperationName;
  readonly method?: string;
  /** A regular expression that the key (of a listing: the prefix) must match. */
  readonly key?: string;
  /** How many requests to spare first, and how many to hit then (until removed where missing). */
  readonly skip?: number;
  readonly count?: number;
}

/** Each kind of fault with the number it needs. */
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

/** A rule as it comes in from outside. @throws Error that says what is wrong. */
export function checkFaultRule(input: unknown): FaultRule {
  const rule = (input ?? {}) as Record<string, unknown>;
  const fault = (rule.fault ?? {}) as Record<string, unknown>;
  const unknown = Object.keys(rule).find((key) => !RULE_KEYS.includes(key));
  if (unknown !== undefined) throw new Error(`unknown key "${unknown}"`);
  if (!Object.hasOwn(NUMBER_OF, String(fault.kind))) throw new Error(`unknown fault "${fault.kind}"`);
  const number = NUMBER_OF[fault.kind as Fault["kind"]];
  if (number !== undefined && !isCount(fault[number])) throw new Error(`"${fault.kind}" needs the number "${number}"`);
  if (rule.operation !== undefined && !OPERATIONS.includes(rule.operation as OperationName)) {
    throw new Error(`unknown operation "${rule.operation}": it is one of ${OPERATIONS.join(", ")}`);
  }
  for (const key of ["skip", "count"]) {
    if (rule[key] !== undefined && !isCount(rule[key])) throw new Error(`"${key}" is no count`);
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

interface Standing {
  readonly id: number;
  readonly rule: FaultRule;
  readonly pattern: RegExp | undefined;
  spared: number;
  hits: number;
}

/** Faults to order. A test that ordered one looks at `hits`: a fault that hit nothing has tested nothing. */
export class Faults {
  readonly #standing = new Map<number, Standing>();
  #lastId = 0;

  /** @returns its id. */
  add(rule: FaultRule): number {
    const pattern = rule.key === undefined ? undefined : new RegExp(rule.key);
    const id = ++this.#lastId;
    this.#standing.set(id, { id, rule, pattern, spared: 0, hits: 0 });
    return id;
  }

  remove(id: number): boolean {
    return this.#standing.delete(id);
  }

  clear(): void {
    this.#standing.clear();
  }

  hits(id: number): number {
    return this.#standing.get(id)?.hits ?? 0;
  }

  rules(): { id: number; rule: FaultRule; hits: number }[] {
    return [...this.#standing.values()].map(({ id, rule, hits }) => ({ id, rule, hits }));
  }

  /** The faults that this request gets; counts them as hit. */
  take(request: RequestTraits): Fault[] {
    const taken: Fault[] = [];
    for (const standing of this.#standing.values()) {
      if (!matches(standing, request)) continue;
      if (standing.spared < (standing.rule.skip ?? 0)) standing.spared++;
      else if (standing.hits < (standing.rule.count ?? Number.POSITIVE_INFINITY)) {
        standing.hits++;
        taken.push(standing.rule.fault);
      }
    }
    return taken;
  }
}

function matches({ rule, pattern }: Standing, request: RequestTraits): boolean {
  if (rule.operation !== undefined && rule.operation !== request.operation) return false;
  if (rule.method !== undefined && rule.method !== request.method) return false;
  return pattern === undefined || pattern.test(request.key);
}
