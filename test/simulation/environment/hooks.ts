/**
 * Replaces the packages through which production code accesses the outside world, in this process and for the production
 * rooms alone. The rooms' own code runs unchanged, except for the texts that a mutant replaces.
 */
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url).href;
const ROOMS = /^(base|consensus|core|meta-server|client|proto|config)\//;

const FAKES: Readonly<Record<string, string>> = {
  "@grpc/grpc-js": "./grpc.ts",
  "classic-level": "./classic-level.ts",
  "node:fs/promises": "./files.ts",
  "node:crypto": "./crypto.ts",
  "node:timers/promises": "./timers-promises.ts",
};

/** One exact text of a production file, and its replacement. */
export interface Replacement {
  readonly file: string;
  readonly text: string;
  readonly by: string;
}

/** Limits meant for years of operation, reduced so that they are reached within a minute. */
const SCALE: readonly Replacement[] = [
  {
    file: "meta-server/machine/checkpoints.ts",
    text: "export const CHECKPOINT_EVERY = 256;",
    by: "export const CHECKPOINT_EVERY = 16;",
  },
];

/**
 * Must be called before any production file is imported. A file in which a text to be replaced does not occur exactly
 * once fails to import.
 */
export function installHooks(replacements: readonly Replacement[]): void {
  const all = [...SCALE, ...replacements];
  registerHooks({
    resolve(specifier, context, next) {
      const fake = FAKES[specifier];
      if (fake === undefined || !isProduction(context.parentURL)) return next(specifier, context);
      return { url: new URL(fake, import.meta.url).href, format: "module-typescript", shortCircuit: true };
    },
    load(url, context, next) {
      const loaded = next(url, context);
      const applicable = all.filter(({ file }) => url === ROOT + file);
      if (applicable.length === 0) return loaded;
      let source = sourceText(loaded.source);
      for (const one of applicable) source = replaceOnce(source, one);
      return { ...loaded, source };
    },
  });
}

/** Throws unless the text occurs exactly once: a stale mutant must not look like one that was not caught. */
export function replaceOnce(source: string, { file, text, by }: Replacement): string {
  const parts = source.split(text);
  if (parts.length !== 2) {
    throw new Error(`${fileURLToPath(ROOT + file)} contains this text ${parts.length - 1} times, not once: ${text}`);
  }
  return parts.join(by);
}

function sourceText(source: unknown): string {
  if (typeof source === "string") return source;
  return Buffer.from(source as Uint8Array).toString();
}

function isProduction(url: string | undefined): boolean {
  return url?.startsWith(ROOT) === true && ROOMS.test(url.slice(ROOT.length));
}
