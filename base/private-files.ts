/** Files of a process hold names and contents of the volume: no other user of the machine may read them. */
export const PRIVATE_FILE = 0o600;
export const PRIVATE_DIRECTORY = 0o700;

/**
 * From now on this process, and those that it starts, create files and directories for their own user alone: also those that
 * a library creates, as LevelDB does. Modes inside a mount do not depend on it: there the kernel sends the caller's umask.
 */
export function keepFilesPrivate(): void {
  process.umask(0o077);
}
