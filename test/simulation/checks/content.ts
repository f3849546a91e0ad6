import type { ChunkValue } from "../../../core/codec.ts";

/** Files are written in units, so that what is read can be compared: a block of the volume holds four. */
export const UNIT_BYTES = 1024 * 1024;

/** A file's units: "" for a hole, else `slice.unit`. The last one is never a hole. */
export type Content = readonly string[];

const HOLE = "";

/** The content after a slice of some units has been written. */
export function contentWith(
  file: { readonly content: Content; readonly size: number },
  { at, units, slice }: { readonly at: number; readonly units: number; readonly slice: number },
): { readonly content: Content; readonly size: number } {
  const content = [...file.content];
  while (content.length < at) content.push(HOLE);
  for (let unit = 0; unit < units; unit++) content[at + unit] = `${slice}.${unit}`;
  return { content, size: Math.max(file.size, (at + units) * UNIT_BYTES) };
}

export function truncated(content: Content, size: number): { readonly content: Content; readonly size: number } {
  return { content: trimmed(content.slice(0, size)), size: size * UNIT_BYTES };
}

/** The content that a file's first chunk states; undefined where it is not made of whole units. */
export function contentOf(chunk: ChunkValue | undefined): Content | undefined {
  const content: string[] = [];
  for (const segment of chunk?.segments ?? []) {
    if (segment.kind !== "slice") return undefined;
    const { offset, length, slice, sliceOffset } = segment;
    if ([offset, length, sliceOffset].some((bytes) => bytes % UNIT_BYTES !== 0)) return undefined;
    while (content.length < offset / UNIT_BYTES) content.push(HOLE);
    for (let unit = 0; unit < length / UNIT_BYTES; unit++) content.push(`${slice}.${sliceOffset / UNIT_BYTES + unit}`);
  }
  return content;
}

function trimmed(content: Content): Content {
  let { length } = content;
  while (length > 0 && content[length - 1] === HOLE) length -= 1;
  return content.slice(0, length);
}
