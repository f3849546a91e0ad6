interface Stoppable {
  stop(): Promise<void>;
}

/**
 * Runs `work` on something that leaves traces (processes, mounts, files) and stops it in every case: at the end, after
 * a throw, and on SIGINT, SIGTERM or SIGHUP, even in the middle of its start. Errors of `work` after an interruption are
 * a consequence of it, and ignored.
 * @returns false when it was interrupted.
 */
export async function untilInterrupted(
  it: Stoppable,
  work: (interrupted: Promise<void>) => Promise<void>,
): Promise<boolean> {
  const interruption = Promise.withResolvers<void>();
  let interrupted = false;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      interrupted = true;
      interruption.resolve();
    });
  }
  process.once("uncaughtException", interruption.reject);
  const running = work(interruption.promise);
  running.catch(() => {});
  try {
    await Promise.race([running, interruption.promise]);
  } finally {
    await it.stop();
  }
  return !interrupted;
}
