/** A volume as its file describes it, read and checked by volume-file.ts; every process is given this. */
export interface VolumeDescription {
  readonly volume: string;
  /** In the file's order. */
  readonly regions: ReadonlyMap<string, RegionDescription>;
  /** At the first start; afterwards the epoch decides. */
  readonly primary: string;
  readonly changelog: { readonly retainHours: number; readonly retainGib: number };
  readonly startAlone: "wait" | "serve";
  /** `serve`: how long a starting primary waits for the regions it cannot reach. */
  readonly startAloneWaitMs: number;
  /** Reads under a leader lease: the members' clocks run at rates that differ by no more than this. Absent: ReadIndex. */
  readonly readLease?: { readonly clockDriftPercent: number };
  readonly gc: { readonly graceMs: number };
}

export interface RegionDescription {
  readonly name: string;
  /** host:port of each member; member N is the N-th, from 1. "-" where member N was removed. */
  readonly meta: readonly string[];
  /** file:///dir, s3://name?region=…&endpoint=…, gs://name?endpoint=… */
  readonly bucket: string;
  /** redis://host:port */
  readonly queue: string;
}

/** Whether a text is host:port, or [IPv6]:port. */
export function isAddress(text: string): boolean {
  const match = /^(\[[0-9a-f:]+\]|[^\s:/[\]]+):(\d{1,5})$/i.exec(text);
  return match !== null && Number(match[2]) > 0 && Number(match[2]) < 65536;
}

/** Stands in `meta` for a member that was removed: its number is never given again. */
export const REMOVED = "-";

/** The metadata servers of a region that its file names. */
export function membersOf({
  meta,
}: Pick<RegionDescription, "meta">): { readonly id: number; readonly address: string }[] {
  return meta.map((address, i) => ({ id: i + 1, address })).filter(({ address }) => address !== REMOVED);
}
