/**
 * Replaces, in this process and for the production rooms alone, the packages through which they touch the world. To be
 * called before any of them is imported. The rooms themselves are not changed, but for a mutant's one defect.
 */
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url).href;
const ROOMS = /^(base|consensus|core|meta-server|client|proto|config)\//;

const STAND_INS: Readonly<Record<string, string>> = {
  "@grpc/grpc-js": "./grpc.ts",
  "classic-level": "./classic-level.ts",
  "node:fs/promises": "./files.ts",
  "node:crypto": "./crypto.ts",
  "node:timers/promises": "./timers-promises.ts",
};

/** One exact text of a production file and what stands in its place. */
export interface Replacement {
  readonly file: string;
  readonly text: string;
  readonly by: string;
}

/** Sizes that are for years of work, cut down to what happens in a minute. */
const SCALE: readonly Replacement[] = [
  {
    file: "meta-server/machine/checkpoints.ts",
    text: "export const CHECKPOINT_EVERY = 256;",
    by: "export const CHECKPOINT_EVERY = 16;",
  },
];

/** @throws on the import of a file in which a text to be replaced is not there exactly once. */
export function installHooks(replacements: readonly Replacement[]): void {
  const all = [...SCALE, ...replacements];
  registerHooks({
    resolve(specifier, context, next) {
      const standIn = STAND_INS[specifier];
      if (standIn === undefined || !isProduction(context.parentURL)) return next(specifier, context);
      return { url: new URL(standIn, import.meta.url).href, format: "module-typescript", shortCircuit: true };
    },
    load(url, context, next) {
      const loaded = next(url, context);
      const wanted = all.filter(({ file }) => url === ROOT + file);
      if (wanted.length === 0) return loaded;
      let source = sourceText(loaded.source);
      for (const one of wanted) source = replaceOnce(source, one);
      return { ...loaded, source };
    },
  });
}

/** A mutant that no longer fits its file must not pass for one that was not caught. */
export function replaceOnce(source: string, { file, text, by }: Replacement): string {
  const parts = source.split(text);
  if (parts.length !== 2) {
    throw new Error(`${fileURLToPath(ROOT + file)} holds ${parts.length - 1} times, not once: ${text}`);
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
