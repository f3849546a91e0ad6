import type { Version } from "../../../core/ids.ts";
import type {
  AdminAnswer,
  AdminServer,
  ConfirmAnswer,
  ConfirmRequest,
  HomeCount,
  InfoAnswer,
  LossReportAnswer,
  PromoteAnswer,
  PromoteRequest,
} from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import { leaderAddress, type ServerContext } from "../../region/context.ts";
import { resolvePath } from "../../region/paths.ts";
import { endEpoch } from "../../roles/epochs/end-epoch.ts";
import type { EpochKeeper } from "../../roles/epochs/epoch-keeper.ts";
import { readLossReport } from "../../roles/epochs/loss-reports.ts";
import { promote } from "../../roles/epochs/promotion.ts";
import { type SwitchoverOptions, switchover } from "../../roles/epochs/switchover.ts";
import type { Follower } from "../../roles/follower/follower.ts";
import type { Regions } from "../../roles/follower/regions.ts";
import { asBuffer } from "../metadata/responses.ts";
import { unary } from "../unary.ts";
import { confirm } from "./confirm.ts";
import { changeMembers } from "./members.ts";
import type { StatusReport } from "./status.ts";
import { heldBy } from "./trees.ts";
import { upgrade } from "./upgrade.ts";
import { waitForTree } from "./wait.ts";

export interface AdminSources {
  readonly status: StatusReport;
  readonly keeper: EpochKeeper;
  readonly regions: Regions;
  readonly follower: Follower;
}

/** The administration of a region: status, switchover, promotion, members, and questions about paths. */
export class AdminService {
  readonly #context: ServerContext;
  readonly #sources: AdminSources;
  readonly handlers: AdminServer;

  constructor(context: ServerContext, sources: AdminSources) {
    this.#context = context;
    this.#sources = sources;
    const leader = { onlyLeader: true };
    this.handlers = {
      status: unary(context, { onlyLeader: false }, () => sources.status.make()),
      confirm: unary(context, leader, (request) => this.#confirm(request)),
      format: unary(context, leader, ({ without }) => this.#format(without)),
      declareLost: unary(context, leader, (request) => this.#declareLost(request.region)),
      switchover: unary(context, leader, (request) => this.#switchover(request)),
      promote: unary(context, leader, (request) => this.#promote(request)),
      end: unary(context, leader, (request) => endEpoch(context, request)),
      refuseSeal: unary(context, leader, ({ seal }) => this.#refuseSeal(asVersion(seal))),
      info: unary(context, leader, ({ path }) => this.#info(path)),
      wait: (stream) => void waitForTree(context, stream),
      lossReport: unary(context, { onlyLeader: false }, () => this.#lossReport()),
      changeMembers: unary(context, leader, (request) => changeMembers(context.group, request)),
      upgrade: unary(context, leader, ({ level }) => this.#upgrade(level)),
    };
  }

  #confirm(request: ConfirmRequest): Promise<ConfirmAnswer> {
    this.#sources.keeper.hint(asVersion(request.version).epoch, request.uuid);
    this.#sources.regions.noteQuestion(request);
    return confirm(this.#context, request);
  }

  async #format(without: readonly string[]): Promise<AdminAnswer> {
    const formatted = await this.#sources.keeper.format(without);
    return this.#answer(formatted.ok, formatted.message);
  }

  async #declareLost(region: string): Promise<AdminAnswer> {
    const { region: own, volume, proposer } = this.#context;
    if (region === own || !volume.regions.has(region)) {
      return this.#answer(false, `${region} is not another region of the volume file`);
    }
    const isCommitted = await proposer.local({ kind: "excused", region, isGone: true });
    return this.#answer(isCommitted, isCommitted ? "" : "it was not committed: try again");
  }

  async #switchover(request: SwitchoverOptions): Promise<AdminAnswer> {
    const switched = await switchover(this.#context, this.#sources, request);
    return this.#answer(switched.ok, switched.message);
  }

  async #upgrade(level: number): Promise<AdminAnswer> {
    const refusal = await upgrade(this.#context, this.#sources.regions, level);
    return this.#answer(refusal === undefined, refusal ?? "");
  }

  async #promote(request: PromoteRequest): Promise<PromoteAnswer> {
    const promoted = await promote(this.#context, this.#sources, request);
    return { report: undefined, toEnd: [], epoch: 0, leader: "", ...promoted };
  }

  /** Once the refusal is committed this group will never begin an epoch from that seal. */
  async #refuseSeal(seal: Version): Promise<AdminAnswer> {
    const { machine, proposer } = this.#context;
    if (machine.version.epoch > seal.epoch) return this.#answer(false, "the next epoch has already begun");
    const committed = await proposer.local({ kind: "refuseSeal", seal });
    return this.#answer(committed && machine.facts.isRefused(seal), committed ? "" : "the refusal was not committed");
  }

  #answer(ok: boolean, message: string): AdminAnswer {
    return { ok, message, version: this.#context.machine.version, leader: leaderAddress(this.#context) };
  }

  #lossReport(): LossReportAnswer {
    return { ...readLossReport(this.#context), leader: leaderAddress(this.#context) };
  }

  async #info(path: string): Promise<InfoAnswer> {
    const { machine } = this.#context;
    const inode = resolvePath(machine, path);
    const attributes = typeof inode === "string" ? undefined : machine.tree.attributesBytes(inode);
    const answer: InfoAnswer = {
      ok: attributes !== undefined,
      message: attributes === undefined ? `${path}: no such file or directory` : "",
      version: machine.version,
      attributes: attributes === undefined ? Buffer.alloc(0) : asBuffer(attributes),
      slices: 0,
      sliceBytes: 0,
      inlineBytes: 0,
      residentSlices: 0,
      homes: [],
      leader: "",
    };
    if (attributes === undefined || typeof inode === "string") return answer;
    const { slices, inlineBytes } = await heldBy(machine, inode);
    const homes = new Map<string, HomeCount>();
    for (const id of slices) {
      const slice = machine.tree.slice(id);
      if (slice === undefined) continue;
      const region = machine.tree.volume?.regions[slice.home]?.name ?? "";
      const home = homes.get(region) ?? { region, slices: 0, bytes: 0 };
      homes.set(region, { region, slices: home.slices + 1, bytes: home.bytes + slice.bytes });
      answer.sliceBytes += slice.bytes;
      if (!machine.facts.isPending(id)) answer.residentSlices += 1;
    }
    return { ...answer, slices: slices.size, inlineBytes, homes: [...homes.values()] };
  }
}
