import { InvalidArgumentError } from "commander";

/** Mount options as written after `-o`; a key without a value has the value "". */
export type WrittenOptions = Readonly<Record<string, string>>;

/**
 * Options that mount(8) takes for every file system ("FILESYSTEM-INDEPENDENT MOUNT OPTIONS") and that are for fstab and mount(8)
 * alone, or state what is so without them.
 */
const GENERIC = /^(defaults|rw|async|_netdev|auto|noauto|nofail|user|nouser|users|owner|group|comment|x-.*)$/;

/** Adds a list `key=value,key,…` to the options given before it. */
export function parseMountOptions(list: string, before: WrittenOptions = {}): WrittenOptions {
  const options: Record<string, string> = { ...before };
  for (const item of list.split(",")) {
    const [key, value] = item.split(/=(.*)/s, 2);
    if (key === undefined || key === "")
      throw new InvalidArgumentError(`'${list}' must be a list of key=value, separated by commas.`);
    if (!GENERIC.test(key)) options[key] = value ?? "";
  }
  return options;
}
