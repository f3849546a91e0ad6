/**
 * Whether a history of concurrent operations could have happened one after another, each at some moment between its call
 * and its answer (Herlihy and Wing 1990). The search is Wing and Gong's, with Lowe's memory of what was tried already
 * (set of operations that have happened, state), as in Porcupine.
 */

export interface Model<Op, State> {
  readonly initial: State;
  /** The state after the operation came to its answer; undefined: it cannot have had that answer here. */
  step(state: State, operation: Op): State | undefined;
  /** Two states with the same name are the same. */
  nameOf(state: State): string;
}

/** An operation with the moments of its call and of its answer. Infinity: it was never answered. */
export interface Timed<Op> {
  readonly invokedAt: number;
  readonly completedAt: number;
  readonly operation: Op;
}

export type Verdict<Op> =
  | { readonly ok: true }
  /** The longest run that was possible, and those that could all not have come next. */
  | { readonly ok: false; readonly linearized: readonly Op[]; readonly next: readonly Op[] }
  /** The search was given up. */
  | { readonly ok: undefined };

interface Event {
  readonly at: number;
  readonly number: number;
  readonly isCall: boolean;
  match: Event | undefined;
  previous: Event | undefined;
  next: Event | undefined;
}

const STEPS_MAX = 2_000_000;

export function checkLinearizable<Op, State>(
  model: Model<NoInfer<Op>, State>,
  history: readonly Timed<Op>[],
  stepsMax = STEPS_MAX,
): Verdict<Op> {
  const head = linkEvents(history);
  const done = new Uint8Array(Math.ceil(history.length / 8));
  const tried = new Set<string>();
  const stack: { readonly event: Event; readonly state: State }[] = [];
  let state = model.initial;
  let longest: number[] = [];
  let at = head.next;
  for (let steps = 0; head.next !== undefined; steps++) {
    if (steps > stepsMax) return { ok: undefined };
    if (at?.isCall === true) {
      const after = model.step(state, history[at.number]!.operation);
      if (after !== undefined) {
        flip(done, at.number);
        const name = `${Buffer.from(done).toString("latin1")}|${model.nameOf(after)}`;
        if (!tried.has(name)) {
          tried.add(name);
          stack.push({ event: at, state });
          state = after;
          lift(at);
          at = head.next;
          continue;
        }
        flip(done, at.number);
      }
      at = at.next;
      continue;
    }
    // An answer has come whose call cannot have happened yet: the last choice was wrong.
    if (stack.length > longest.length) longest = stack.map(({ event }) => event.number);
    const last = stack.pop();
    if (last === undefined) return refused(history, longest);
    state = last.state;
    flip(done, last.event.number);
    unlift(last.event);
    at = last.event.next;
  }
  return { ok: true };
}

function refused<Op>(history: readonly Timed<Op>[], longest: readonly number[]): Verdict<Op> {
  const left = history.filter((_, number) => !longest.includes(number));
  const firstAnswer = Math.min(...left.map(({ completedAt }) => completedAt));
  return {
    ok: false,
    linearized: longest.map((number) => history[number]!.operation),
    next: left.filter(({ invokedAt }) => invokedAt <= firstAnswer).map(({ operation }) => operation),
  };
}

/** Calls and answers in the order of time, as a list with a head. Of the same moment, calls come first. */
function linkEvents<Op>(history: readonly Timed<Op>[]): Event {
  const events: Event[] = [];
  for (const [number, { invokedAt, completedAt }] of history.entries()) {
    const answer = event(completedAt, number, false);
    events.push({ ...event(invokedAt, number, true), match: answer }, answer);
  }
  events.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall));
  const head = event(Number.NEGATIVE_INFINITY, -1, false);
  let last = head;
  for (const one of events) {
    last.next = one;
    one.previous = last;
    last = one;
  }
  return head;
}

function event(at: number, number: number, isCall: boolean): Event {
  return { at, number, isCall, match: undefined, previous: undefined, next: undefined };
}

function flip(bits: Uint8Array, at: number): void {
  bits[at >> 3]! ^= 1 << (at & 7);
}

/** Takes a call and its answer out of the list. */
function lift(call: Event): void {
  for (const one of [call, call.match!]) {
    one.previous!.next = one.next;
    if (one.next !== undefined) one.next.previous = one.previous;
  }
}

function unlift(call: Event): void {
  for (const one of [call.match!, call]) {
    one.previous!.next = one;
    if (one.next !== undefined) one.next.previous = one;
  }
}
