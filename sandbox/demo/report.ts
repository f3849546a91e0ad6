const PROGRESS_MS = 5_000;
const EXAMPLES = 5;

/** Prints the demo's parts, figures and checks, and counts the checks that held and failed. */
export class Report {
  readonly #say: (line: string) => void;
  #held = 0;
  #failed = 0;

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  part(title: string): void {
    this.#say(`\n${title}`);
  }

  figure(text: string): void {
    this.#say(`  ${text}`);
  }

  /** Reports a check. It holds if `wrong` is empty; otherwise the first few entries are printed. */
  check(what: string, wrong: readonly string[] = []): void {
    if (wrong.length === 0) {
      this.#held += 1;
      this.#say(`  ok      ${what}`);
      return;
    }
    this.#failed += 1;
    this.#say(`  FAILED  ${what}: ${wrong.length} wrong`);
    for (const line of wrong.slice(0, EXAMPLES)) this.#say(`          ${line}`);
  }

  /**
   * Prints the verdict. A check that did not take place must not pass for one that held: the demo failed, too, if there were not
   * as many as it has. @returns whether all held.
   */
  conclude({ checks, seconds }: { readonly checks: number; readonly seconds: number }): boolean {
    const made = this.#held + this.#failed;
    if (made !== checks) this.#say(`\n  FAILED  ${checks} checks belong to the demo, and ${made} were made`);
    const whole = this.#failed === 0 && made === checks;
    const verdict = whole ? "all held" : "FAILED";
    this.#say(`\ndemo: ${verdict}: ${this.#held} checks held, ${this.#failed} did not (${Math.round(seconds)} s)`);
    return whole;
  }

  /** Runs a step, and prints a progress line every few seconds. @returns its result, and how long it took. */
  async timed<T>(what: string, step: () => Promise<T>): Promise<{ result: T; seconds: number }> {
    const startedMs = performance.now();
    const seconds = () => (performance.now() - startedMs) / 1000;
    const timer = setInterval(() => this.#say(`  ... ${what} (${Math.round(seconds())} s)`), PROGRESS_MS);
    try {
      return { result: await step(), seconds: seconds() };
    } finally {
      clearInterval(timer);
    }
  }
}
