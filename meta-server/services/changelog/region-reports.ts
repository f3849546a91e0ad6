import type { Inode, Version } from "../../../core/ids.ts";

interface Report {
  readonly applied: Version;
  readonly openOrphans: ReadonlySet<Inode>;
  readonly heardMs: number;
}

/** When a region has reported nothing for this long, its open files no longer count. */
const SILENT_MS = 600_000;

/** The mirrors' last reports to this leader: what they have applied, and which files without links are open there. */
export class RegionReports {
  readonly #reports = new Map<string, Report>();
  #sinceMs = performance.now();

  /** This server has become the leader: it has no reports yet. */
  reset(): void {
    this.#reports.clear();
    this.#sinceMs = performance.now();
  }

  put(region: string, applied: Version, openOrphans: readonly number[]): void {
    const open = new Set(openOrphans as readonly Inode[]);
    this.#reports.set(region, { applied, openOrphans: open, heardMs: performance.now() });
  }

  applied(region: string): Version | undefined {
    return this.#reports.get(region)?.applied;
  }

  /** Whether an inode that lost its last link at `since` may still be open in a region. */
  mayBeOpen(region: string, inode: Inode, since: number): boolean {
    const report = this.#reports.get(region);
    if (performance.now() - (report?.heardMs ?? this.#sinceMs) > SILENT_MS) return false;
    if (report === undefined || report.applied.sequence < since) return true;
    return report.openOrphans.has(inode);
  }
}
