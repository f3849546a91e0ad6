import type { RegionStatus } from "../../../proto/generated/admin.ts";
import type { Refusals } from "../../../proto/refusals.ts";
import { decodePending, pendingPrefix } from "../../machine/local-keys.ts";
import { leaderAddress, type ServerContext } from "../../region/context.ts";
import type { EpochKeeper } from "../../roles/epochs/epoch-keeper.ts";
import type { Follower } from "../../roles/follower/follower.ts";
import type { AgentService } from "../agent/service.ts";
import { behindOf } from "./members.ts";

export interface StatusSources {
  readonly keeper: EpochKeeper;
  readonly follower: Follower;
  readonly agents: AgentService;
  /** Counts the clients' frames and requests that broke the protocol. */
  readonly refusedClients: Refusals;
}

/** A member's report on its region, from its own applied state. */
export class StatusReport {
  readonly #context: ServerContext;
  readonly #sources: StatusSources;

  constructor(context: ServerContext, sources: StatusSources) {
    this.#context = context;
    this.#sources = sources;
  }

  async make(): Promise<RegionStatus> {
    const { volume, region, member, group, machine, supports } = this.#context;
    const { role, members, membership } = this.#members();
    const { totals } = machine.facts;
    const { follower, agents } = this.#sources;
    const isMirror = role !== "primary" && role !== "unformatted";
    const stored = machine.tree.volume;
    return {
      volume: volume.volume,
      uuid: stored?.uuid ?? "",
      region,
      member,
      isLeader: group.leading,
      leader: leaderAddress(this.#context),
      members,
      version: machine.version,
      epochRegion: machine.primary,
      role,
      stateHash: machine.stateHash,
      heard: isMirror ? follower.heard : machine.version,
      lagMs: isMirror ? follower.lagMs : 0,
      pendingBlocks: totals.blocks,
      pendingBytes: totals.bytes,
      oldestPendingMs: await this.#oldestPendingMs(),
      copiedBlocks: totals.copiedBlocks,
      failedBlocks: agents.failedSlices,
      primaryReachable: !isMirror || follower.reachable,
      message: this.#message(),
      inodes: stored?.inodes ?? 0,
      usedBytes: stored?.usedBytes ?? 0,
      membership,
      features: machine.tree.features,
      supports,
      refused: this.#refused(),
    };
  }

  /** What was refused, by kind; refusals of clients carry the prefix `client-`. */
  #refused(): Record<string, number> {
    const clients = Object.entries(this.#sources.refusedClients.counts);
    return { ...this.#context.group.refused, ...Object.fromEntries(clients.map(([kind, n]) => [`client-${kind}`, n])) };
  }

  #message(): string {
    const { keeper, follower } = this.#sources;
    const { role, facts } = this.#context.machine;
    const { diverged } = facts;
    if (diverged !== undefined) {
      return `stopped following: the state hash differs from the primary's at sequence ${diverged.sequence} (${diverged.own}, there ${diverged.primary}): empty the data directories of this region's metadata servers and start them again (mirrorfs meta), so that they take a snapshot`;
    }
    const { membership } = this.#context.group.status();
    if (membership === "joining") return "this server is not a member of its group yet: run 'mirrorfs member add'";
    if (membership === "removed") return "this server was removed from its group: stop it";
    if (role === "primary") return keeper.message;
    if (role === "fenced") return [keeper.message, follower.message].filter((one) => one !== "").join("; ");
    return role === "unformatted" ? keeper.message || follower.message : follower.message || keeper.message;
  }

  #members(): Pick<RegionStatus, "role" | "members" | "membership"> {
    const { group, machine } = this.#context;
    const { members, leader, applied, commit, membership } = group.status();
    const self = group.member.id;
    return {
      role: machine.state,
      membership,
      members: members.map((one) => ({
        id: one.id,
        address: one.address,
        isLeader: one.id === leader,
        applied: one.id === self ? applied : one.matched,
        reachable: one.active,
        learner: one.learner,
        behind: self === leader ? behindOf(one, commit) : 0,
        snapshotBytes: one.snapshotBytes ?? 0,
      })),
    };
  }

  /** Age of the pending slice with the lowest id, in ms: slices become pending roughly in the order of their ids. */
  async #oldestPendingMs(): Promise<number> {
    const { facts } = this.#context.machine;
    if (facts.totals.slices === 0) return 0;
    const first = await this.#context.machine.localFirst(pendingPrefix(facts.generation));
    return first === undefined ? 0 : Math.max(0, Date.now() - decodePending(first).sinceMs);
  }
}
