/** The only timers of a group; injected, so that tests can replace them. */
export interface Timers {
  /** Runs after the current event and all I/O events that are already pending, so that a turn gathers them. */
  soon(run: () => void): void;
  /** @returns cancels it */
  every(ms: number, run: () => void): () => void;
  /** @returns cancels it */
  after(ms: number, run: () => void): () => void;
}

export const processTimers: Timers = {
  soon: (run) => {
    setImmediate(run);
  },
  every: (ms, run) => {
    const timer = setInterval(run, ms);
    return () => clearInterval(timer);
  },
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
