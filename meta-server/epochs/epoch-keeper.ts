import { randomUUID } from "node:crypto";
import type { RegionIndex } from "../../core/ids.ts";
import type { RegionStatus } from "../../proto/generated/admin.ts";
import type { Regions } from "../follower/regions.ts";
import type { ServerContext } from "../services/context.ts";

const ROUND_MS = 100;
const FIRST_ASK_MS = 2_000;

/** What the leader of a region does about epochs: formats, begins, ends and fences them, as the state tells it. */
export class EpochKeeper {
  readonly #context: ServerContext;
  readonly #regions: Regions;
  readonly #timer: NodeJS.Timeout;
  #running = false;
  #message = "";

  constructor(context: ServerContext, regions: Regions) {
    this.#context = context;
    this.#regions = regions;
    this.#timer = setInterval(() => void this.#round(), ROUND_MS);
  }

  get mayServe(): boolean {
    return true;
  }

  /** Why the region refuses changes, or what it waits for. */
  get message(): string {
    return this.#message;
  }

  heard(_epoch: number): void {}

  async #round(): Promise<void> {
    const { group, machine, logger } = this.#context;
    if (this.#running || !group.leading) return;
    this.#running = true;
    try {
      if (machine.role === "unformatted") await this.#format();
    } catch (error) {
      logger.error(error, "epochs");
    } finally {
      this.#running = false;
    }
  }

  /** The volume's first region makes it, unless another region has it already. */
  async #format(): Promise<void> {
    const { volume, region, proposals, logger } = this.#context;
    if (volume.primary !== region) return;
    const others = await this.#regions.askAll(FIRST_ASK_MS);
    if ([...others.values()].some(isFormatted)) return;
    const regions = [...volume.regions.keys()];
    const applied = await proposals.internal({
      kind: "format",
      uuid: randomUUID(),
      volume: volume.volume,
      regions,
      primary: regions.indexOf(region) as RegionIndex,
    });
    if (applied?.taken) logger.info({ volume: volume.volume, regions }, "volume formatted");
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function isFormatted(status: RegionStatus): boolean {
  return status.role !== "unformatted";
}
