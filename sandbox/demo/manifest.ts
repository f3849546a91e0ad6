/** The properties of a file that a copy must preserve. */
export interface ManifestEntry {
  readonly kind: "file" | "directory" | "symlink" | "other";
  readonly mode: number;
  /** Of a file. */
  readonly bytes: number;
  readonly mtimeNs: bigint;
  /** Of a symlink. */
  readonly target: string;
  /** SHA-256 of a file's content, in hex. */
  readonly sha256: string;
}

/** By path below the root. */
export type Manifest = ReadonlyMap<string, ManifestEntry>;

/** @returns one line per difference; none if the trees are equal. */
export function differences(expected: Manifest, found: Manifest): string[] {
  const lines: string[] = [];
  for (const [path, want] of expected) {
    const got = found.get(path);
    if (got === undefined) lines.push(`${path}: is missing`);
    else
      lines.push(
        ...differingFields(want, got).map((field) => `${path}: ${field} is ${got[field]}, not ${want[field]}`),
      );
  }
  for (const path of found.keys()) if (!expected.has(path)) lines.push(`${path}: is unexpected`);
  return lines;
}

function differingFields(want: ManifestEntry, got: ManifestEntry): (keyof ManifestEntry)[] {
  return (Object.keys(want) as (keyof ManifestEntry)[]).filter((field) => want[field] !== got[field]);
}
