/**
 * Checks whether a history of concurrent operations is linearizable: equivalent to a sequential one in which each operation
 * takes effect between its invocation and its completion (Herlihy and Wing 1990). The search is Wing and Gong's, with
 * Lowe's cache of visited configurations (set of linearized operations, state), as in Porcupine.
 */

export interface Model<Op, State> {
  readonly initial: State;
  /** The state after the operation; undefined: the operation cannot complete like this in `state`. */
  step(state: State, operation: Op): State | undefined;
  /** Two states are equal if and only if their names are. */
  nameOf(state: State): string;
}

/** An operation with the logical times of its invocation and completion. Infinity: it never completed. */
export interface Timed<Op> {
  readonly invokedAt: number;
  readonly completedAt: number;
  /** A hint at its place in the sequence: among the operations that may come next, the one with the lowest is tried first. */
  readonly place?: number;
  readonly operation: Op;
}

export type Verdict<Op> =
  | { readonly ok: true }
  /** The longest linearizable prefix, and the operations none of which can follow it. */
  | { readonly ok: false; readonly linearized: readonly Op[]; readonly next: readonly Op[] }
  /** Undecided: the search exceeded `stepsMax`. */
  | { readonly ok: undefined };

interface Event {
  readonly at: number;
  readonly number: number;
  readonly isInvocation: boolean;
  match: Event | undefined;
  previous: Event | undefined;
  next: Event | undefined;
}

const STEPS_MAX = 2_000_000;

/** A choice of the search: the operations that could come next in `state`, and how many of them have been tried. */
interface Choice<State> {
  readonly state: State;
  readonly candidates: readonly Event[];
  tried: number;
  /** The one that has been linearized. */
  chosen: Event | undefined;
}

export function checkLinearizable<Op, State>(
  model: Model<NoInfer<Op>, State>,
  history: readonly Timed<Op>[],
  stepsMax = STEPS_MAX,
): Verdict<Op> {
  const head = linkEvents(history);
  const linearized = new Uint8Array(Math.ceil(history.length / 8));
  const visited = new Set<string>();
  const choice = (state: State): Choice<State> => {
    return { state, candidates: candidatesAfter(head, history), tried: 0, chosen: undefined };
  };
  const stack = [choice(model.initial)];
  let longest: number[] = [];
  for (let steps = 0; head.next !== undefined; steps++) {
    if (steps > stepsMax) return { ok: undefined };
    const top = stack.at(-1)!;
    if (top.chosen !== undefined) {
      flip(linearized, top.chosen.number);
      unlift(top.chosen);
      top.chosen = undefined;
    }
    const event = top.candidates[top.tried++];
    if (event === undefined) {
      if (stack.length - 1 > longest.length) longest = stack.slice(0, -1).map(({ chosen }) => chosen!.number);
      stack.pop();
      if (stack.length === 0) return notLinearizable(history, longest);
      continue;
    }
    const after = model.step(top.state, history[event.number]!.operation);
    if (after === undefined) continue;
    flip(linearized, event.number);
    const name = `${Buffer.from(linearized).toString("latin1")}|${model.nameOf(after)}`;
    if (visited.has(name)) {
      flip(linearized, event.number);
      continue;
    }
    visited.add(name);
    top.chosen = event;
    lift(event);
    stack.push(choice(after));
  }
  return { ok: true };
}

/** The operations that were invoked before the first of those that are left completed: one of them comes next. */
function candidatesAfter<Op>(head: Event, history: readonly Timed<Op>[]): Event[] {
  const candidates: Event[] = [];
  for (let at = head.next; at?.isInvocation === true; at = at.next) candidates.push(at);
  const placeOf = ({ number }: Event) => history[number]!.place ?? Number.POSITIVE_INFINITY;
  return candidates.length === 1 ? candidates : candidates.sort((a, b) => placeOf(a) - placeOf(b) || a.at - b.at);
}

function notLinearizable<Op>(history: readonly Timed<Op>[], longest: readonly number[]): Verdict<Op> {
  const left = history.filter((_, number) => !longest.includes(number));
  const firstCompletion = Math.min(...left.map(({ completedAt }) => completedAt));
  return {
    ok: false,
    linearized: longest.map((number) => history[number]!.operation),
    next: left.filter(({ invokedAt }) => invokedAt <= firstCompletion).map(({ operation }) => operation),
  };
}

/**
 * Invocations and completions in the order of time, as a linked list with a head. At equal times invocations come
 * first.
 */
function linkEvents<Op>(history: readonly Timed<Op>[]): Event {
  const events: Event[] = [];
  for (const [number, { invokedAt, completedAt }] of history.entries()) {
    const completion = event(completedAt, number, false);
    events.push({ ...event(invokedAt, number, true), match: completion }, completion);
  }
  events.sort((a, b) => a.at - b.at || Number(b.isInvocation) - Number(a.isInvocation));
  const head = event(Number.NEGATIVE_INFINITY, -1, false);
  let last = head;
  for (const one of events) {
    last.next = one;
    one.previous = last;
    last = one;
  }
  return head;
}

function event(at: number, number: number, isInvocation: boolean): Event {
  return { at, number, isInvocation, match: undefined, previous: undefined, next: undefined };
}

function flip(bits: Uint8Array, at: number): void {
  bits[at >> 3]! ^= 1 << (at & 7);
}

/** Removes an invocation and its completion from the list. */
function lift(invocation: Event): void {
  for (const one of [invocation, invocation.match!]) {
    one.previous!.next = one.next;
    if (one.next !== undefined) one.next.previous = one.previous;
  }
}

function unlift(invocation: Event): void {
  for (const one of [invocation.match!, invocation]) {
    one.previous!.next = one;
    if (one.next !== undefined) one.next.previous = one;
  }
}
