import type { RegionIndex, Version } from "../../../core/ids.ts";
import { regionNames } from "../../../core/regions.ts";
import type { ServerContext } from "../../region/context.ts";
import type { RegionReports } from "./region-reports.ts";

const EVERY_MS = 2_000;
const OWN_KEPT = 1_000;

/** Commits periodically what each mirror has applied. Which blocks may be deleted and how much log is kept depend on it. */
export class RegionProgress {
  readonly #context: ServerContext;
  readonly #reports: RegionReports;
  readonly #timer: NodeJS.Timeout;
  /** Sequences of the progress commands themselves: a mirror that has only applied those has made no progress. */
  #own: number[] = [];
  #running = false;

  constructor(context: ServerContext, reports: RegionReports) {
    this.#context = context;
    this.#reports = reports;
    this.#timer = setInterval(() => void this.#round(), EVERY_MS);
    this.#timer.unref();
  }

  async #round(): Promise<void> {
    const { machine, logger } = this.#context;
    if (this.#running || !this.#context.isServing()) return;
    this.#running = true;
    try {
      for (const [index, region] of regionNames(machine.tree.volume).entries()) {
        const applied = this.#reports.applied(region);
        if (applied !== undefined) await this.#commit(index as RegionIndex, applied);
      }
    } catch (error) {
      logger.error(error, "what the mirrors have applied could not be committed; it is retried");
    } finally {
      this.#running = false;
    }
  }

  async #commit(region: RegionIndex, version: Version): Promise<void> {
    const { machine, proposer } = this.#context;
    const known = machine.tree.regionProgress(region)?.sequence ?? 0;
    const own = this.#own.filter((one) => one > known && one <= version.sequence).length;
    if (version.sequence - known <= own) return;
    const applied = await proposer.internal({ kind: "regionProgress", region, version });
    if (applied?.taken) this.#own = [...this.#own, applied.version.sequence].slice(-OWN_KEPT);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
