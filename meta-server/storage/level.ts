/** The only file that uses classic-level: opens a database, and translates its errors. */
import { readdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ClassicLevel } from "classic-level";
import { UserError } from "../../base/user-error.ts";
import { StorageError } from "../../consensus/storage-error.ts";
import { syncDirectory, syncFilesIn } from "./durable-files.ts";

export type Level = ClassicLevel<Uint8Array, Uint8Array>;

export interface LevelTuning {
  readonly compression: boolean;
  readonly cacheBytes: number;
  readonly writeBufferBytes: number;
  readonly maxFileBytes: number;
}

/**
 * Opens a database, or creates it, such that a power failure at any moment leaves one that can be opened. LevelDB alone does
 * not ensure that: it does not sync the first manifest of a new database before CURRENT names it, nor the rename of a later
 * CURRENT.
 *
 * @throws UserError when another process holds the directory, StorageError when the disk or the database is broken.
 */
export async function openLevel(directory: string, tuning: LevelTuning): Promise<Level> {
  if (await isEmpty(directory)) await makeLevel(directory, tuning);
  const level = await openAt(directory, tuning, false);
  await syncDirectory(directory);
  return level;
}

/** Creates an empty database under another name and syncs it before it is renamed. */
async function makeLevel(directory: string, tuning: LevelTuning): Promise<void> {
  const beside = `${directory}.new`;
  try {
    await rm(beside, { recursive: true, force: true });
    await (await openAt(beside, tuning, true)).close();
    await syncFilesIn(beside);
    await rename(beside, directory);
    await syncDirectory(dirname(directory));
  } catch (error) {
    throw error instanceof StorageError ? error : new StorageError(`cannot create ${directory}`, error);
  }
}

async function isEmpty(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).length === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return true;
    throw new StorageError(`cannot read ${directory}`, error);
  }
}

async function openAt(directory: string, tuning: LevelTuning, createIfMissing: boolean): Promise<Level> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
    createIfMissing,
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: tuning.compression,
    cacheSize: tuning.cacheBytes,
    writeBufferSize: tuning.writeBufferBytes,
    maxFileSize: tuning.maxFileBytes,
  });
  try {
    await level.open();
  } catch (error) {
    if (isLocked(error))
      throw new UserError(`${directory} is in use by another process: stop that first`, 1, { cause: error });
    throw new StorageError(`cannot open ${directory}`, error);
  }
  return level;
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && (error.cause as { code?: string } | undefined)?.code === "LEVEL_LOCKED";
}
