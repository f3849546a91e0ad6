import type { VolumeView } from "./context.ts";

/** The mirrors' lag, over many samples of the volume's status. */
export class LagMeter {
  readonly #metadataMs: number[] = [];
  readonly #blocksMs: number[] = [];

  add(view: VolumeView): void {
    for (const region of Object.values(view.regions)) {
      if (region.role !== "mirror") continue;
      if (region.lag.ms !== null) this.#metadataMs.push(region.lag.ms);
      if (region.blocks.oldestPendingMs !== null) this.#blocksMs.push(region.blocks.oldestPendingMs);
    }
  }

  text(): string {
    return `mirror's lag: metadata ${summary(this.#metadataMs)}, blocks ${summary(this.#blocksMs)}`;
  }
}

function summary(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (quantile: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}
