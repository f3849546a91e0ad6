import { readFileSync } from "node:fs";
import { LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { parseBucketUrl } from "../base/bucket-url.ts";
import { UserError } from "../base/user-error.ts";
import { isAddress, REMOVED, type RegionDescription, type VolumeDescription } from "./volume-description.ts";

const DEFAULTS = { retainHours: 72, retainGib: 10, startAloneWaitMs: 30_000, graceMs: 600_000, clockDriftPercent: 10 };
const REGIONS_MAX = 16;
const MEMBERS_MAX = 7;
/** Words for the types that zod expects. */
const KINDS: Record<string, string> = {
  object: "a map",
  record: "a map",
  array: "a list",
  string: "a string",
  number: "a number",
  int: "a whole number",
};

const address = z.string().refine((text) => text === REMOVED || isAddress(text), "must be host:port");

const bucket = z.string().superRefine((text, context) => {
  const where = parseBucketUrl(text);
  if (where.service === undefined) context.addIssue({ code: "custom", message: where.problem });
});

const queue = z.string().refine((text) => {
  const url = URL.parse(text);
  return url !== null && (url.protocol === "redis:" || url.protocol === "rediss:") && url.hostname !== "";
}, "must be redis://host:port");

const region = z.strictObject({
  // 1, 3 or 5 in the long run; any number while members are being added and removed.
  meta: z.array(address).refine((all) => {
    const named = all.filter((one) => one !== REMOVED).length;
    return named >= 1 && named <= MEMBERS_MAX;
  }, `must name 1 to ${MEMBERS_MAX} metadata servers`),
  bucket,
  queue,
});

const volumeFile = z.strictObject({
  volume: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "must be 1 to 63 of a-z, 0-9, '.', '_' and '-'"),
  regions: z
    .record(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, "must be a name of a-z, 0-9 and '-'"), region)
    .refine((regions) => Object.keys(regions).length > 0, "must name at least one region")
    .refine((regions) => Object.keys(regions).length <= REGIONS_MAX, `must be at most ${REGIONS_MAX}`),
  primary: z.string(),
  changelog: z
    .strictObject({ retain: z.strictObject({ hours: z.number().positive(), gib: z.number().positive() }).partial() })
    .optional(),
  startAlone: z.enum(["wait", "serve"]).default("serve"),
  startAloneWaitMs: z.int().nonnegative().default(DEFAULTS.startAloneWaitMs),
  reads: z
    .strictObject({
      lease: z.boolean(),
      clockDriftPercent: z.number().positive().max(50).default(DEFAULTS.clockDriftPercent),
    })
    .optional(),
  gc: z.strictObject({ graceMs: z.int().nonnegative() }).optional(),
});

/**
 * Reads and validates a volume file.
 * @throws UserError (exit 2): the file, the path of the key, and the problem.
 */
export function readVolumeFile(path: string): VolumeDescription {
  const parsed = volumeFile.safeParse(readYaml(path), { reportInput: true });
  if (!parsed.success) throw wrong(path, describeIssue(mostTelling(parsed.error.issues)));
  const file = parsed.data;
  if (!Object.hasOwn(file.regions, file.primary)) {
    throw wrong(
      path,
      `primary: there is no region '${file.primary}' (regions: ${Object.keys(file.regions).join(", ")})`,
    );
  }
  const clash = findClash(file.regions);
  if (clash !== undefined) throw wrong(path, clash);
  return {
    volume: file.volume,
    regions: new Map(
      Object.entries(file.regions).map(([name, it]): [string, RegionDescription] => [name, { name, ...it }]),
    ),
    primary: file.primary,
    changelog: {
      retainHours: file.changelog?.retain.hours ?? DEFAULTS.retainHours,
      retainGib: file.changelog?.retain.gib ?? DEFAULTS.retainGib,
    },
    startAlone: file.startAlone,
    startAloneWaitMs: file.startAloneWaitMs,
    ...(file.reads?.lease ? { readLease: { clockDriftPercent: file.reads.clockDriftPercent } } : {}),
    gc: { graceMs: file.gc?.graceMs ?? DEFAULTS.graceMs },
  };
}

function readYaml(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw wrong(path, (error as NodeJS.ErrnoException).code === "ENOENT" ? "no such file" : (error as Error).message);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problem = document.errors[0];
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw wrong(path, `line ${line}, column ${col}: ${problem.message}`);
  }
  return document.toJS();
}

/** The issue to report: an unknown key before a missing one, since a misspelt key causes both. */
function mostTelling(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  return issues.find((it) => it.code === "unrecognized_keys") ?? issues[0]!;
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const at = issue.path
    .map((key, i) => (typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`))
    .join("");
  if (issue.code === "unrecognized_keys") return `${at === "" ? "" : `${at}.`}${issue.keys[0]}: unknown key`;
  const where = at === "" ? "" : `${at}: `;
  if (issue.code === "invalid_key") return `${where}${issue.issues[0]?.message ?? issue.message}`;
  if (issue.code === "invalid_type" && issue.input === undefined) return `${where}is missing`;
  if (issue.code === "invalid_type") return `${where}must be ${KINDS[issue.expected] ?? issue.expected}`;
  if (issue.code === "invalid_value") return `${where}must be ${issue.values.map(String).join(" or ")}`;
  return `${where}${issue.message}`;
}

/** An address, bucket or Redis that is used twice. */
function findClash(regions: Record<string, z.infer<typeof region>>): string | undefined {
  const taken = new Map<string, string>();
  for (const [name, it] of Object.entries(regions)) {
    const uses = [...it.meta.map((at, i) => [`meta[${i}]`, at]), ["bucket", it.bucket], ["queue", it.queue]] as [
      string,
      string,
    ][];
    for (const [key, value] of uses) {
      if (value === REMOVED) continue;
      const before = taken.get(value);
      if (before !== undefined) return `regions.${name}.${key}: ${value} is already ${before}`;
      taken.set(value, `regions.${name}.${key}`);
    }
  }
  return undefined;
}

function wrong(path: string, problem: string): UserError {
  return new UserError(`${path}: ${problem}`, 2);
}
