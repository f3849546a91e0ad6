/** Pure functions on a chunk's segments, which are sorted by offset and do not overlap. */

import type { Segment } from "./codec/values.ts";
import { INLINE_BYTES_MAX, type SliceId } from "./ids.ts";

export function segmentLength(segment: Segment): number {
  return segment.kind === "inline" ? segment.data.length : segment.length;
}

function segmentEnd(segment: Segment): number {
  return segment.offset + segmentLength(segment);
}

export function usedBytes(segments: readonly Segment[]): number {
  let bytes = 0;
  for (const segment of segments) bytes += segmentLength(segment);
  return bytes;
}

export function inlineBytes(segments: readonly Segment[]): number {
  let bytes = 0;
  for (const segment of segments) if (segment.kind === "inline") bytes += segment.data.length;
  return bytes;
}

/** The part of a segment in [from, to), which must overlap it. */
function part(segment: Segment, from: number, to: number): Segment {
  const begin = Math.max(segment.offset, from);
  const end = Math.min(segmentEnd(segment), to);
  if (begin === segment.offset && end === segmentEnd(segment)) return segment;
  if (segment.kind === "inline") {
    const data = segment.data.slice(begin - segment.offset, end - segment.offset);
    return { kind: "inline", offset: begin, data };
  }
  return {
    ...segment,
    offset: begin,
    length: end - begin,
    sliceOffset: segment.sliceOffset + begin - segment.offset,
  };
}

/** The segments without the range [from, to). The same array when nothing is in it. */
export function cut(segments: readonly Segment[], from: number, to: number): readonly Segment[] {
  if (!segments.some((segment) => segment.offset < to && segmentEnd(segment) > from)) return segments;
  const left: Segment[] = [];
  for (const segment of segments) {
    const end = segmentEnd(segment);
    if (end <= from || segment.offset >= to) {
      left.push(segment);
      continue;
    }
    if (segment.offset < from) left.push(part(segment, 0, from));
    if (end > to) left.push(part(segment, to, end));
  }
  return left;
}

/** The segments with `segment` in place of what its range held. Adjacent inline data is merged up to INLINE_BYTES_MAX. */
export function insert(segments: readonly Segment[], segment: Segment): readonly Segment[] {
  const rest = cut(segments, segment.offset, segmentEnd(segment));
  let at = rest.length;
  while (at > 0 && rest[at - 1]!.offset > segment.offset) at--;
  let inserted = segment;
  let first = at;
  let next = at;
  const before = merged(rest[at - 1], inserted);
  if (before !== undefined) {
    inserted = before;
    first--;
  }
  const after = merged(inserted, rest[at]);
  if (after !== undefined) {
    inserted = after;
    next++;
  }
  return [...rest.slice(0, first), inserted, ...rest.slice(next)];
}

function merged(a: Segment | undefined, b: Segment | undefined): Segment | undefined {
  if (a?.kind !== "inline" || b?.kind !== "inline" || segmentEnd(a) !== b.offset) return undefined;
  if (a.data.length + b.data.length > INLINE_BYTES_MAX) return undefined;
  const data = new Uint8Array(a.data.length + b.data.length);
  data.set(a.data);
  data.set(b.data, a.data.length);
  return { kind: "inline", offset: a.offset, data };
}

/** For each slice whose number of references differs between `before` and `after`: by how much. */
export function referenceChanges(before: readonly Segment[], after: readonly Segment[]): Map<SliceId, number> {
  const changes = new Map<SliceId, number>();
  const count = (segments: readonly Segment[], by: number) => {
    for (const segment of segments) {
      if (segment.kind !== "slice") continue;
      const change = (changes.get(segment.slice) ?? 0) + by;
      if (change === 0) changes.delete(segment.slice);
      else changes.set(segment.slice, change);
    }
  };
  count(after, 1);
  count(before, -1);
  return changes;
}
