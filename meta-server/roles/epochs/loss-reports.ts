import { decodeChunk, decodeSlice } from "../../../core/codec.ts";
import { epochRegion, type Inode } from "../../../core/ids.ts";
import { KEY_PREFIX, keyId } from "../../../core/keys.ts";
import { regionNames } from "../../../core/regions.ts";
import type { LossReportAnswer, LostFile } from "../../../proto/generated/admin.ts";
import { decodePending, pendingPrefix } from "../../machine/local-keys.ts";
import type { ServerContext } from "../../region/context.ts";
import { pathOf } from "../../region/paths.ts";

const FILES_MAX = 5_000;

interface Missing {
  bytes: number;
  slices: number;
}

/** Reports what a forced promotion may have lost. One report is made for each forced epoch, and the region's group keeps it. */
export class LossReports {
  readonly #context: ServerContext;

  constructor(context: ServerContext) {
    this.#context = context;
  }

  /** Makes the current epoch's report if the epoch was forced and has none yet. `reachable`: the regions that answered. */
  async ensure(reachable: ReadonlyMap<string, unknown>): Promise<LossReportAnswer | undefined> {
    const { machine, proposer } = this.#context;
    const record = machine.tree.epoch(machine.version.epoch);
    if (record === undefined || record.how !== "forced") return undefined;
    const { epoch } = machine.version;
    if (machine.facts.lossReport?.epoch !== epoch) {
      const report = JSON.stringify(await this.#make(reachable));
      // Two may be made at once, by the promotion and by the epoch keeper: the group keeps the first.
      await proposer.local({ kind: "lossReport", epoch, report });
    }
    return readLossReport(this.#context);
  }

  async #make(reachable: ReadonlyMap<string, unknown>): Promise<LossReportAnswer> {
    const { machine, region } = this.#context;
    const { version } = machine.tree.volume!;
    const regions = regionNames(machine.tree.volume);
    const { previous } = machine.tree.epoch(version.epoch)!;
    const lost = new Set<number>();
    regions.forEach((name, index) => {
      if (name !== region && !reachable.has(name)) lost.add(index);
    });
    const missing = await this.#missingByInode(lost);
    const files: LostFile[] = [];
    for (const [inode, { bytes, slices }] of missing) {
      if (files.length === FILES_MAX) break;
      const path = await pathOf(machine, inode as Inode);
      if (path !== undefined) files.push({ inode, path, bytes, slices });
    }
    const heard = machine.facts.heard;
    return {
      present: true,
      fromRegion: regions[epochRegion(previous.epoch)] ?? "",
      toRegion: region,
      fork: previous,
      heard: heard.epoch === previous.epoch && heard.sequence > previous.sequence ? heard : previous,
      promotedAtMs: Date.now(),
      files,
      truncated: missing.size > FILES_MAX,
      leader: "",
    };
  }

  /** By inode, the slices that this region lacks and whose home region is not reachable. */
  async #missingByInode(lost: ReadonlySet<number>): Promise<Map<number, Missing>> {
    const { machine } = this.#context;
    const missing = new Map<number, Missing>();
    const unknown = new Map<number, number>();
    for await (const page of machine.localPages(pendingPrefix(machine.facts.generation))) {
      for (const [, value] of page) {
        const pending = decodePending(value);
        if (!lost.has(decodeSlice(pending.record).home)) continue;
        if (pending.inode === 0) unknown.set(pending.slice, pending.bytes);
        else add(missing, pending.inode, pending.bytes);
      }
    }
    if (unknown.size > 0) await this.#findInodes(unknown, missing);
    return missing;
  }

  /** Slices that became pending in a bootstrap do not name their file: finds it by scanning all chunks. */
  async #findInodes(unknown: Map<number, number>, missing: Map<number, Missing>): Promise<void> {
    for await (const page of this.#context.machine.view.pages(KEY_PREFIX.chunk)) {
      for (const [key, value] of page) {
        for (const segment of decodeChunk(value).segments) {
          const bytes = segment.kind === "slice" ? unknown.get(segment.slice) : undefined;
          if (bytes !== undefined) add(missing, keyId(key), bytes);
        }
      }
    }
  }
}

function add(missing: Map<number, Missing>, inode: number, bytes: number): void {
  const file = missing.get(inode) ?? { bytes: 0, slices: 0 };
  file.bytes += bytes;
  file.slices += 1;
  missing.set(inode, file);
}

const NO_REPORT: LossReportAnswer = {
  present: false,
  fromRegion: "",
  toRegion: "",
  fork: undefined,
  heard: undefined,
  promotedAtMs: 0,
  files: [],
  truncated: false,
  leader: "",
};

/** The latest report that this region keeps; `present` is false if there is none. */
export function readLossReport({ machine }: ServerContext): LossReportAnswer {
  const report = machine.facts.lossReport;
  return report === undefined ? NO_REPORT : (JSON.parse(report.text) as LossReportAnswer);
}
