/** How many requests are in flight in the rows that end in "-64". */
export const AT_ONCE = 64;
const ONE_AT_A_TIME = 3_000;

/** Runs steps one after the other. @returns how long each took, in ms. */
export async function oneAtATime(step: (i: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < ONE_AT_A_TIME; i++) {
    const startedMs = performance.now();
    await step(i);
    times.push(performance.now() - startedMs);
  }
  return times;
}

/** Runs steps with `inFlight` of them in parallel. @returns steps per second. */
export async function atOnce(inFlight: number, forMs: number, step: (i: number) => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  let next = 0;
  const worker = async () => {
    while (performance.now() - startedMs < forMs) await step(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return next / ((performance.now() - startedMs) / 1_000);
}
