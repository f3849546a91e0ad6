import type { Logger } from "pino";

/**
 * Whether the group still runs. A throw anywhere in it is a bug or a broken disk: the group stops at the first one and
 * reports it once, so that nothing is sent, saved or applied on top of a state that cannot be trusted.
 */
export class Lifecycle {
  readonly #logger: Logger;
  readonly #onFatal: (error: Error) => void;
  readonly #onEnd: () => void;
  #stopped = false;

  constructor(options: { logger: Logger; onFatal: (error: Error) => void; onEnd: () => void }) {
    this.#logger = options.logger;
    this.#onFatal = options.onFatal;
    this.#onEnd = options.onEnd;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Runs a callback of a timer, the disk or the network, and fails on a throw. Does nothing once the group has stopped. */
  guard(run: () => void): void {
    if (this.#stopped) return;
    try {
      run();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** Stops the group because of an error. */
  fail(error: Error): void {
    if (this.#stopped) return;
    this.end();
    this.#logger.fatal(error.message);
    this.#onFatal(error);
  }

  /** Nothing is sent, saved or applied after this. */
  end(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#onEnd();
  }
}
