import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";

interface Service {
  stop(): Promise<void>;
  /** Resolves when it ended by itself (a mount that was unmounted). */
  readonly ended?: Promise<void>;
}

/** How long a clean stop may take before the process goes all the same; and how long a start that is interrupted. */
const STOP_MS_MAX = 20_000;
const START_MS_MAX = 3_000;
/**
 * Signals that come so soon after the first are the same one. The kernel sends the signal of a parent's death
 * (PR_SET_PDEATHSIG) again for each thread of the parent that the child is handed to on the way: up to five times for a
 * Node that is killed, and on a busy machine not all at once.
 */
const SAME_SIGNAL_MS = 2_000;

/**
 * Runs a service until SIGINT, SIGTERM or SIGHUP (another one, later, ends the process at once), or until it ends by itself.
 * A signal that comes while it starts waits a little for the start, so that it is stopped in order.
 */
export async function serve(service: Service | Promise<Service>, logger: Logger): Promise<void> {
  const signal = nextSignal();
  const running = await Promise.race([service, signal.then(() => delay(START_MS_MAX))]);
  if (running === undefined) process.exit(1);
  const reason = await Promise.race([signal, running.ended ?? new Promise<never>(() => {})]);
  if (reason === undefined) return;
  logger.info({ signal: reason }, "stopping");
  const late = setTimeout(() => {
    logger.error(`not stopped within ${STOP_MS_MAX / 1000} s`);
    process.exit(1);
  }, STOP_MS_MAX);
  await running.stop();
  clearTimeout(late);
  logger.info("stopped");
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let cameMs: number | undefined;
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(name, () => {
        cameMs ??= performance.now();
        if (performance.now() - cameMs > SAME_SIGNAL_MS) process.exit(1);
        resolve(name);
      });
    }
  });
}
