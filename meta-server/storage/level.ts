/** The one door to classic-level: how a database of ours is opened, and how its refusals read. */
import { ClassicLevel } from "classic-level";
import { UserError } from "../../proto/user-error.ts";
import { StorageError } from "./storage-error.ts";

export type Level = ClassicLevel<Uint8Array, Uint8Array>;

export interface LevelTuning {
  readonly compression: boolean;
  readonly cacheBytes: number;
  readonly writeBufferBytes: number;
  readonly maxFileBytes: number;
}

/** @throws UserError when another process holds the directory, StorageError when the disk or the database is broken. */
export async function openLevel(directory: string, tuning: LevelTuning): Promise<Level> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
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
      throw new UserError(`${directory} is in use by another process: stop it first`, 1, { cause: error });
    throw new StorageError(`cannot open ${directory}`, error);
  }
  return level;
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && (error.cause as { code?: string } | undefined)?.code === "LEVEL_LOCKED";
}
