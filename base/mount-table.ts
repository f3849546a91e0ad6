import { readFileSync } from "node:fs";

export interface MountEntry {
  /** What mount(8) and df show as the device: `VOLUME@REGION` for a mount of mirrorfs. */
  readonly source: string;
  readonly mountPoint: string;
  /** "fuse.mirrorfs" for a mount of mirrorfs. */
  readonly fileSystem: string;
  /** "0:53": the number of the file system's anonymous device, which also names its readahead (bdi). */
  readonly device: string;
}

/**
 * All mounts of this mount namespace, in the order of mounting. Reads the kernel's table (proc_pid_mountinfo(5)), and never
 * the mounts themselves: access to one whose process hangs would block.
 */
export function readMountTable(text = readFileSync("/proc/self/mountinfo", "latin1")): readonly MountEntry[] {
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const fields = line.split(" ");
    const separator = fields.indexOf("-");
    return {
      source: unescapeOctal(fields[separator + 2]!),
      mountPoint: unescapeOctal(fields[4]!),
      fileSystem: fields[separator + 1]!,
      device: fields[2]!,
    };
  });
}

/** The mounts of mirrorfs, in the order of mounting. */
export function ownMounts(table = readMountTable()): readonly MountEntry[] {
  return table.filter(({ fileSystem }) => fileSystem === "fuse.mirrorfs");
}

/** The topmost mount at a path; undefined when nothing is mounted there. */
export function mountEntryAt(mountPoint: string): MountEntry | undefined {
  return readMountTable().findLast((entry) => entry.mountPoint === mountPoint);
}

/** Decodes blanks, line ends and backslashes, which the kernel writes as \040 and the like. */
function unescapeOctal(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}
