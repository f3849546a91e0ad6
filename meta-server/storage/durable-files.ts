/**
 * Files and directories that survive a power failure whole: a file is written under another name, synced, renamed, and its
 * directory synced.
 */
import { open, readdir, rename } from "node:fs/promises";
import { join } from "node:path";

/** Makes the names in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Syncs every file of a directory, but not of its subdirectories, then the directory itself. */
export async function syncFilesIn(directory: string): Promise<void> {
  for (const item of await readdir(directory, { withFileTypes: true })) {
    if (!item.isFile()) continue;
    const handle = await open(join(directory, item.name), "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  await syncDirectory(directory);
}

/** Replaces a file: after a crash it holds either its old or its new content. */
export async function replaceFile(directory: string, name: string, content: string): Promise<void> {
  const beside = join(directory, `${name}.new`);
  const handle = await open(beside, "w");
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, join(directory, name));
  await syncDirectory(directory);
}
