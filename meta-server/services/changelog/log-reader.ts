import type { Group, GroupEntry } from "../../../consensus/group.ts";
import { isOnChangelog } from "../../../core/changelog.ts";
import { decodeEntry } from "../../../core/codec.ts";
import type { EpochCode, Sequence, Version } from "../../../core/ids.ts";
import { versionAfter } from "../../../core/sequencer.ts";
import type { Checkpoint } from "../../machine/checkpoints.ts";
import { isLocal } from "../../machine/local-entries.ts";
import type { Machine, TakenEntry } from "../../machine/machine.ts";

const WALK_BYTES = 1024 * 1024;

/**
 * Reads the group's log as the changelog, from a checkpoint on: every command takes the next sequence, except for those that
 * apply has refused.
 */
export class LogReader {
  readonly #group: Group;
  readonly #machine: Machine;
  /** Index of the next log entry to read. */
  #index: number;
  #version: Version;

  private constructor(server: { group: Group; machine: Machine }, checkpoint: Checkpoint) {
    this.#group = server.group;
    this.#machine = server.machine;
    this.#index = checkpoint.index + 1;
    this.#version = { epoch: checkpoint.epoch as EpochCode, sequence: checkpoint.sequence as Sequence };
  }

  /**
   * A reader of the entries after `from`. `bootstrap`: the log no longer reaches back to it; `forked`: it is not of this
   * history.
   */
  static async open(
    server: { group: Group; machine: Machine },
    from: Version,
  ): Promise<LogReader | "bootstrap" | "forked"> {
    if (!isOnChangelog(server.machine.tree, from)) return "forked";
    const checkpoint = server.machine.checkpoints.before(from.sequence);
    if (checkpoint === undefined || checkpoint.index + 1 < server.group.firstIndex) return "bootstrap";
    const reader = new LogReader(server, checkpoint);
    return (await reader.#skipTo(from)) ? reader : "bootstrap";
  }

  get version(): Version {
    return this.#version;
  }

  async #skipTo(from: Version): Promise<boolean> {
    while (this.version.sequence < from.sequence) {
      const entries = await this.#read(WALK_BYTES);
      if (entries === undefined || entries.length === 0) return false;
      for (const entry of entries) {
        if (this.version.sequence < from.sequence) this.#step(entry);
      }
    }
    return true;
  }

  /** The next entries that took a sequence; [] if there are none yet, undefined if the log was cut meanwhile. */
  async next(bytesMax: number): Promise<TakenEntry[] | undefined> {
    for (;;) {
      const entries = await this.#read(bytesMax);
      if (entries === undefined) return undefined;
      const taken: TakenEntry[] = [];
      for (const entry of entries) {
        const one = this.#step(entry);
        if (one !== undefined) taken.push(one);
      }
      if (taken.length > 0 || entries.length === 0) return taken;
    }
  }

  /** Reads only entries that this member has applied, so that its own state is as new as they are. */
  async #read(bytesMax: number): Promise<readonly GroupEntry[] | undefined> {
    const applied = this.#machine.appliedIndex;
    if (this.#index > applied) return [];
    try {
      const entries = await this.#group.readLog(this.#index, bytesMax);
      return entries.filter(({ index }) => index <= applied);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  #step({ index, kind, data }: GroupEntry): TakenEntry | undefined {
    this.#index = index + 1;
    if (kind !== "application" || isLocal(data) || this.#machine.refusedEntries.has(index)) return undefined;
    const { command, body } = decodeEntry(data);
    const previous = this.version;
    this.#version = versionAfter(previous, command);
    return { previous, version: this.version, body };
  }
}
