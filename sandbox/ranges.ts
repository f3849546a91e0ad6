/**
 * Parses a `Range` header with a single range (RFC 9110 §14.1.2).
 * @returns undefined when there is none, or it is to be ignored.
 */
export function parseRange(
  header: string | undefined,
  bytes: number,
): { first: number; last: number } | "unsatisfiable" | undefined {
  const parts = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (parts === null || (parts[1] === "" && parts[2] === "")) return undefined;
  if (parts[1] === "") {
    const count = Number(parts[2]);
    return count === 0 || bytes === 0 ? "unsatisfiable" : { first: Math.max(0, bytes - count), last: bytes - 1 };
  }
  const first = Number(parts[1]);
  const last = parts[2] === "" ? bytes - 1 : Math.min(Number(parts[2]), bytes - 1);
  if (parts[2] !== "" && Number(parts[2]) < first) return undefined;
  return first >= bytes ? "unsatisfiable" : { first, last };
}

/** The headers of a response with the whole body, or with a range of it. */
export function lengthHeaders(
  range: { first: number; last: number } | undefined,
  bytes: number,
): Record<string, string | number> {
  if (range === undefined) return { "Content-Length": bytes };
  const { first, last } = range;
  return { "Content-Length": last - first + 1, "Content-Range": `bytes ${first}-${last}/${bytes}` };
}
