import type { GroupMember, GroupStatus } from "../group.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { GroupContext } from "./group-options.ts";
import { addressed, membershipOf } from "./membership.ts";

/** Reports changes in the core: the members to the transport, the rest to the logger and the listeners. */
export class StatusFeed {
  readonly #context: GroupContext;
  readonly #group: { readonly leading: boolean; status(): GroupStatus };
  readonly #named: readonly GroupMember[];
  readonly #listeners = new Set<(status: GroupStatus) => void>();
  #configuration: Configuration | undefined;
  #lastSeen = "";

  constructor(
    context: GroupContext,
    named: readonly GroupMember[],
    group: { readonly leading: boolean; status(): GroupStatus },
  ) {
    this.#context = context;
    this.#named = named;
    this.#group = group;
  }

  subscribe(listener: (status: GroupStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Before a turn sends its messages: they go to the members of the latest configuration. */
  updatePeers(): void {
    const { raft, transport, logger } = this.#context;
    const { configuration } = raft.log;
    if (configuration === this.#configuration) return;
    this.#configuration = configuration;
    const members = addressed(configuration, this.#named);
    transport.setPeers(members.filter(({ id }) => id !== raft.id));
    logger.info({ members, since: configuration.index }, "raft: members");
  }

  /** At the end of a turn. */
  notify(): void {
    const { raft, logger } = this.#context;
    const { role, term, leader } = raft;
    const { leading } = this.#group;
    const membership = membershipOf(raft);
    const seen = `${role} ${term} ${leader} ${leading} ${membership} ${this.#configuration?.index}`;
    if (seen === this.#lastSeen) return;
    this.#lastSeen = seen;
    logger.info({ role, term, leader, leading, membership }, "raft: role");
    if (membership === "removed") logger.warn("raft: this server was removed from its group and should be stopped");
    const status = this.#group.status();
    for (const listener of [...this.#listeners]) listener(status);
  }
}
