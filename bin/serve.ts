import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";

interface Service {
  stop(): Promise<void>;
  /** Resolves when the service ends by itself (a mount that is unmounted); rejects when it fails. */
  readonly ended?: Promise<void>;
}

/** A clean stop that takes longer is abandoned, and the process exits. */
const STOP_MS_MAX = 20_000;
/** After a signal during the start: how long to wait for the start, so that the service can be stopped in order. */
const START_MS_MAX = 3_000;
/**
 * A signal this soon after the first counts as the same one. When a parent dies, the kernel sends the signal that its child asked
 * for (PR_SET_PDEATHSIG in prctl(2)) once for each thread of the parent that the child is reparented to on the way: up to
 * five times for a Node process, and on a busy machine not all at once.
 */
const SAME_SIGNAL_MS = 2_000;

/**
 * Runs a service until SIGINT, SIGTERM or SIGHUP (another one, later, ends the process at once), or until it ends by itself.
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
    let firstMs: number | undefined;
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(name, () => {
        firstMs ??= performance.now();
        if (performance.now() - firstMs > SAME_SIGNAL_MS) process.exit(1);
        resolve(name);
      });
    }
  });
}
