import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { contentOf } from "./content.ts";
import { runJob } from "./job.ts";

/** Files to read and compare with the content that their label determines. */
export interface CheckTask {
  readonly dir: string;
  readonly files: readonly { readonly name: string; readonly label: string; readonly bytes: number }[];
}

export interface CheckEvent {
  readonly name: string;
  /** "right", "wrong" (other bytes than were written), or the code of the error. */
  readonly found: string;
  readonly tookMs: number;
}

/** High, because the first reads of lost bytes wait for the dead bucket to come back. */
const AT_ONCE = 128;

runJob<CheckTask, CheckEvent>(async ({ dir, files }, emit) => {
  const limit = pLimit(AT_ONCE);
  // The directory's listing must agree with what the reads find.
  const listed = new Set(await readdir(dir));
  const check = async ({ name, label, bytes }: CheckTask["files"][number]): Promise<void> => {
    const startMs = performance.now();
    const found = await readFile(join(dir, name)).then(
      (data) => (data.equals(contentOf(label, bytes)) ? "right" : "wrong"),
      (error: NodeJS.ErrnoException) => String(error.code),
    );
    emit({
      name,
      tookMs: performance.now() - startMs,
      found: (found === "ENOENT") === listed.has(name) ? `${found}, but the listing says otherwise` : found,
    });
  };
  await Promise.all(files.map((file) => limit(() => check(file))));
});
