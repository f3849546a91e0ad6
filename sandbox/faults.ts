import { z } from "zod";

/** What a request does, in the words of the object stores. */
export const OPERATIONS = ["create", "read", "head", "delete", "list", "copy", "other"] as const;
export type OperationName = (typeof OPERATIONS)[number];

const faultSchema = z.discriminatedUnion("kind", [
  /** 503 in the service's own format. */
  z.strictObject({ kind: z.literal("unavailable") }),
  /** The service's request to slow down: S3's 503 SlowDown, GCS's 429. */
  z.strictObject({ kind: z.literal("slowDown") }),
  /** The connection is closed after so many bytes of the body, of the answer or of an upload. */
  z.strictObject({ kind: z.literal("cutBody"), afterBytes: z.number().int().nonnegative().default(1) }),
  /** One bit of the body is turned: of the answer, or of an upload before it is checked. */
  z.strictObject({ kind: z.literal("wrongBytes") }),
  /** The request is carried out, and the connection is reset instead of the answer: a retry finds its own work. */
  z.strictObject({ kind: z.literal("loseAnswer") }),
  /** No answer at all. */
  z.strictObject({ kind: z.literal("hang") }),
  z.strictObject({ kind: z.literal("latency"), ms: z.number().nonnegative() }),
  /** The connection is reset before anything is read of the request: the bucket is cut off. */
  z.strictObject({ kind: z.literal("refuse") }),
]);

export const faultRuleSchema = z.strictObject({
  fault: faultSchema,
  /** Which requests: all where nothing is said. */
  operation: z.enum(OPERATIONS).optional(),
  method: z.string().optional(),
  /** A regular expression that the key (of a listing: the prefix) must match. */
  key: z.string().optional(),
  /** How many requests to spare first, and how many to hit then (until removed where missing). */
  skip: z.number().int().nonnegative().default(0),
  count: z.number().int().positive().optional(),
});

export type Fault = z.infer<typeof faultSchema>;
export type FaultRule = z.input<typeof faultRuleSchema>;

export interface RequestTraits {
  readonly operation: OperationName;
  readonly method: string;
  readonly key: string;
}

interface Standing {
  readonly id: number;
  readonly rule: z.output<typeof faultRuleSchema>;
  readonly pattern: RegExp | undefined;
  spared: number;
  hits: number;
}

/** Faults to order. A test that ordered one looks at `hits`: a fault that hit nothing has tested nothing. */
export class Faults {
  readonly #standing = new Map<number, Standing>();
  #lastId = 0;

  /** @returns its id. @throws ZodError for a rule that is wrong. */
  add(rule: FaultRule): number {
    const checked = faultRuleSchema.parse(rule);
    const pattern = checked.key === undefined ? undefined : new RegExp(checked.key);
    const id = ++this.#lastId;
    this.#standing.set(id, { id, rule: checked, pattern, spared: 0, hits: 0 });
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
      if (standing.spared < standing.rule.skip) standing.spared++;
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
