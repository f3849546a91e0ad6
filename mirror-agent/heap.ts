/**
 * A binary heap: the smallest item by `before` first. Items are never removed from its middle: those that have become stale
 * are dropped when they reach the top.
 */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;
  readonly #isStale: (item: T) => boolean;

  constructor(before: (a: T, b: T) => boolean, isStale: (item: T) => boolean) {
    this.#before = before;
    this.#isStale = isStale;
  }

  /** The smallest item that is not stale. */
  peek(): T | undefined {
    while (this.#items.length > 0 && this.#isStale(this.#items[0]!)) this.#removeTop();
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(item, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** Removes and returns what `peek` returns. */
  pop(): T | undefined {
    const top = this.peek();
    this.#removeTop();
    return top;
  }

  #removeTop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#before(items[child + 1]!, items[child]!)) child++;
      if (!this.#before(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
  }
}
