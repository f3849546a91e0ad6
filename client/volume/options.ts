import { isAbsolute } from "node:path";
import { z } from "zod";
import { UserError } from "../../base/user-error.ts";

const MIB = 1024 * 1024;

const milliseconds = z.coerce.number().int().min(0).max(86_400_000);
const flag = z.union([z.boolean(), z.enum(["", "true", "false"]).transform((text) => text !== "false")]);

/** Options of mount(8) for every file system that the kernel carries out. */
const KERNEL_FLAGS = [
  ...["suid", "nosuid", "dev", "nodev", "exec", "noexec"],
  ...["noatime", "nodiratime", "relatime"],
] as const;
export type KernelFlag = (typeof KERNEL_FLAGS)[number];

/** Mount options, as text after `-o` or as values from a program. */
const schema = z.strictObject({
  /** How new reads at a mirror are; see docs/SEMANTICS.md. */
  consistency: z.enum(["close-to-open", "session", "bounded"]).default("close-to-open"),
  maxStalenessMs: milliseconds.default(1000),
  onPrimaryLoss: z.enum(["serve", "fail"]).default("serve"),
  writeTimeoutMs: milliseconds.min(100).default(60_000),
  readTimeoutMs: milliseconds.min(100).default(30_000),
  /** Directory of the disk cache; absent: blocks are cached in memory only. */
  cacheDir: z.string().refine(isAbsolute, "must be an absolute path").optional(),
  cacheBytes: z.coerce
    .number()
    .int()
    .min(0)
    .default(1024 * MIB),
  memoryCacheBytes: z.coerce
    .number()
    .int()
    .min(16 * MIB)
    .default(128 * MIB),
  /** Memory for what is dirty, over all files; beyond that, writers wait. */
  writeBufferBytes: z.coerce
    .number()
    .int()
    .min(16 * MIB)
    .default(256 * MIB),
  /** Inodes that the kernel may have cached, and the client with it; beyond that, it is asked to let go of some. */
  inodesMax: z.coerce.number().int().min(1000).default(200_000),
  /** How far the client prefetches for a sequential reader. */
  readAheadBytes: z.coerce
    .number()
    .int()
    .min(0)
    .default(32 * MIB),
  /** The kernel's own readahead. */
  readAheadKb: z.coerce.number().int().min(0).max(65_536).optional(),
  /** How long the kernel may use that a name does not exist without asking. */
  negativeEntryValidMs: milliseconds.default(0),
  allowOther: flag.optional(),
  readOnly: flag.optional(),
  /** In the order in which they were written. */
  kernelFlags: z.array(z.enum(KERNEL_FLAGS)).default([]),
});

export type MountOptions = z.output<typeof schema>;
export type WrittenMountOptions = Partial<MountOptions> | Readonly<Record<string, string>>;

/** The names that mount(8) and fstab(5) use for options of the schema. */
const ALIASES: Readonly<Record<string, string>> = { ro: "readOnly", allow_other: "allowOther" };

/** @throws UserError which names the option. */
export function parseMountOptions(written: WrittenMountOptions): MountOptions {
  const entries = Object.entries(written).map(([key, value]) => [ALIASES[key] ?? key, value] as const);
  const flags = entries.filter(([key]) => isKernelFlag(key));
  const wrong = flags.find(([, value]) => value !== "");
  if (wrong !== undefined) throw new UserError(`mount option ${wrong[0]}: takes no value`, 2);
  const named = Object.fromEntries(entries.filter(([key]) => !isKernelFlag(key)));
  const parsed = schema.safeParse({ kernelFlags: flags.map(([key]) => key), ...named });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.code === "unrecognized_keys") throw new UserError(`unknown mount option "${issue.keys.join('", "')}"`, 2);
  throw new UserError(`mount option ${issue.path.join(".")}: ${issue.message}`, 2);
}

function isKernelFlag(key: string): boolean {
  return (KERNEL_FLAGS as readonly string[]).includes(key);
}
