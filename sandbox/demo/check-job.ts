import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { contentOf } from "./content.ts";
import { runJob } from "./job.ts";

/** Files whose content follows from `label`, to be read and compared. */
export interface CheckTask {
  readonly dir: string;
  readonly files: readonly { readonly name: string; readonly label: string; readonly bytes: number }[];
}

export interface CheckEvent {
  readonly name: string;
  /** "wrong": other bytes than were written. Else "right", or the error's code. */
  readonly found: string;
}

/** A read of bytes that are lost waits long for a bucket to come back before it fails: all of them together. */
const AT_ONCE = 128;

runJob<CheckTask, CheckEvent>(async ({ dir, files }, tell) => {
  const limit = pLimit(AT_ONCE);
  // A listing first: what it names must be there, and it must not hide what is.
  const listed = new Set(await readdir(dir));
  const check = async ({ name, label, bytes }: CheckTask["files"][number]): Promise<void> => {
    const found = await readFile(join(dir, name)).then(
      (data) => (data.equals(contentOf(label, bytes)) ? "right" : "wrong"),
      (error: NodeJS.ErrnoException) => String(error.code),
    );
    tell({
      name,
      found: (found === "ENOENT") === listed.has(name) ? `${found}, and the listing says otherwise` : found,
    });
  };
  await Promise.all(files.map((file) => limit(() => check(file))));
});
