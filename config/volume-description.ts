/** A volume as its file describes it, read and validated by volume-file.ts. */
export interface VolumeDescription {
  readonly volume: string;
  /** By name, in the file's order. */
  readonly regions: ReadonlyMap<string, RegionDescription>;
  /** The region that formats the volume at the first start; afterwards the epoch decides which region is primary. */
  readonly primary: string;
  /** How much of the log is kept for a mirror that is away: whichever bound is reached first. */
  readonly changelog: { readonly retainHours: number; readonly retainGib: number };
  /** What a starting primary does when it cannot ask every region for its epoch. */
  readonly startAlone: "wait" | "serve";
  /** With `serve`: how long a starting primary waits for regions that it cannot reach. */
  readonly startAloneWaitMs: number;
  /** Present: reads under a leader lease, with a bound on how much the clock rates of the members differ. Absent: ReadIndex. */
  readonly readLease?: { readonly clockDriftPercent: number };
  /** How long a block is kept at least after the last file that used it. */
  readonly gc: { readonly graceMs: number };
}

export interface RegionDescription {
  readonly name: string;
  /** host:port of each member; member N is the N-th, from 1. `REMOVED` in the place of a removed member. */
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

/** Written in `meta` in the place of a removed member, whose number is not used again. */
export const REMOVED = "-";

/** The metadata servers of a region that the volume file names. */
export function membersOf({
  meta,
}: Pick<RegionDescription, "meta">): { readonly id: number; readonly address: string }[] {
  return meta.map((address, i) => ({ id: i + 1, address })).filter(({ address }) => address !== REMOVED);
}
