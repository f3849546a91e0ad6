import { InvalidArgumentError } from "commander";

/** As written after `-o`: a key without a value is "". */
export type WrittenOptions = Readonly<Record<string, string>>;

/** What fstab and mount(8) say for every file system; the kernel, or they themselves, see to it. */
const GENERIC = /^(defaults|rw|_netdev|auto|noauto|nofail|user|nouser|users|owner|group|comment|x-.*)$/;

/** Adds a list of `key=value,key,…` to what was written before. */
export function parseMountOptions(list: string, before: WrittenOptions = {}): WrittenOptions {
  const options: Record<string, string> = { ...before };
  for (const item of list.split(",")) {
    const [key, value] = item.split(/=(.*)/s, 2);
    if (key === undefined || key === "") throw new InvalidArgumentError(`'${list}' is not a list of key=value.`);
    if (!GENERIC.test(key)) options[key] = value ?? "";
  }
  return options;
}
