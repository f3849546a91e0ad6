import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MountEntry } from "../base/mount-table.ts";
import { PRIVATE_DIRECTORY, PRIVATE_FILE } from "../base/private-files.ts";

/** One file for each mount of this machine, by the number of its device. */
const DIRECTORY = "/run/mirrorfs";

interface MountRecord {
  readonly pid: number;
  /** A record that a killed process left may have the number of a later mount. */
  readonly source: string;
  readonly volumeFile: string;
}

type Mounted = Pick<MountEntry, "device" | "source">;

/**
 * Records which volume file a mount of this process was made with, for the commands that get a path in it.
 * @returns removes the record.
 * @throws the system's error when the directory cannot be written.
 */
export function recordMount({ device, source }: Mounted, volumeFile: string, directory = DIRECTORY): () => void {
  const record: MountRecord = { pid: process.pid, source, volumeFile };
  const path = join(directory, device);
  mkdirSync(directory, { recursive: true, mode: PRIVATE_DIRECTORY });
  // Of a killed process; a new file has the right mode.
  rmSync(path, { force: true });
  writeFileSync(path, JSON.stringify(record), { mode: PRIVATE_FILE });
  return () => {
    // By now a later mount may have this number, and its own record.
    if (read(path)?.pid === process.pid) rmSync(path, { force: true });
  };
}

/** The volume file that a mount was made with; undefined when it is not recorded, or the record may not be read. */
export function recordedVolumeFile({ device, source }: Mounted, directory = DIRECTORY): string | undefined {
  const record = read(join(directory, device));
  return record?.source === source ? record.volumeFile : undefined;
}

function read(path: string): MountRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}
