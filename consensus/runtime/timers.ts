/** The only time that a group knows: the tests bring their own. */
export interface Timers {
  /** After what is being handled now, and after all input that has already arrived: gathers a turn. */
  soon(run: () => void): void;
  /** @returns what cancels it */
  every(ms: number, run: () => void): () => void;
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
