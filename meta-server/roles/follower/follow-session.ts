import type { ClientDuplexStream } from "@grpc/grpc-js";
import { chainOf } from "../../../core/chain.ts";
import { encodeFollowed } from "../../../core/codec.ts";
import { compareVersions, type Sequence, type Version } from "../../../core/ids.ts";
import { channelCredentials } from "../../../proto/credentials.ts";
import {
  ChangelogClient,
  type ChangelogEntry,
  type ChangelogFrame,
  FollowAnswer,
  type FollowerFrame,
  type FollowReport,
  type FollowWelcome,
} from "../../../proto/generated/changelog.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { ServerContext } from "../../region/context.ts";
import { EntryFeed } from "./entry-feed.ts";
import { PEER_OPTIONS } from "./regions.ts";

const WELCOME_MS = 5_000;
const SILENCE_MS = 2_500;
const TICK_MS = 200;
/** Between two reports of the same version: they also say which files without links are open. */
const REPORT_EVERY_MS = 1_000;

export interface FollowSessionEvents {
  onWelcome(welcome: FollowWelcome): void;
  /** The primary is alive, and has committed this version. */
  onHeard(committed: Version): void;
  onReadIndex(number: number, committed: Version): void;
  /** The primary's state hash at a sequence. */
  onStateHash(sequence: Sequence, stateHash: string): void;
  /** Undefined: not yet. The primary removes a file without links once it has a report that does not name it. */
  report(): FollowReport | undefined;
}

/**
 * One stream to the primary's leader. Proposes the entries that arrive on it to this region's group, in order; not reusable.
 */
export class FollowSession {
  readonly #context: ServerContext;
  readonly #events: FollowSessionEvents;
  readonly #client: ChangelogClient;
  readonly #stream: ClientDuplexStream<FollowerFrame, ChangelogFrame>;
  readonly #timer: NodeJS.Timeout;
  /** Resolves with the reason when the stream has ended. Never rejects. */
  readonly ended: Promise<string>;
  #end: (reason: string) => void = () => {};
  #over = false;
  #welcomed = false;
  #heardMs = performance.now();
  readonly #feed: EntryFeed;
  #paused = false;
  #reported: Version | undefined;
  #reportedMs = 0;

  constructor(context: ServerContext, address: string, events: FollowSessionEvents) {
    this.#context = context;
    this.#events = events;
    this.#feed = new EntryFeed(context.group, {
      onFull: () => this.#pause(),
      onRoom: () => this.#resume(),
      onFailed: (reason) => this.close(reason),
    });
    this.#client = new ChangelogClient(address, channelCredentials(), PEER_OPTIONS);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#stream = this.#client.follow();
    this.#stream.on("data", (frame: ChangelogFrame) => this.#receive(frame));
    this.#stream.on("error", (error: Error) => this.close(error.message));
    this.#stream.on("end", () => this.close("the primary ended the stream"));
    const { machine, volume, region, supports } = context;
    const hello = {
      volume: volume.volume,
      uuid: machine.tree.volume?.uuid ?? "",
      region,
      from: machine.version,
      stateHash: machine.stateHash,
      supports,
      chain: chainOf(machine.tree),
    };
    this.#stream.write({ hello, report: undefined, readIndex: [] });
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Asks the primary what it has committed; the answer is `onReadIndex`. False if the stream is not open. */
  ask(number: number): boolean {
    if (this.#over || !this.#welcomed) return false;
    this.#stream.write({ hello: undefined, report: undefined, readIndex: [number] });
    return true;
  }

  close(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    this.#feed.close();
    this.#stream.cancel();
    this.#client.close();
    this.#end(reason);
  }

  #receive(frame: ChangelogFrame): void {
    if (this.#over) return;
    this.#heardMs = performance.now();
    if (frame.welcome !== undefined) {
      this.#welcomed = frame.welcome.answer === FollowAnswer.FOLLOWING;
      this.#events.onWelcome(frame.welcome);
      if (!this.#welcomed) {
        this.close(frame.welcome.message);
        return;
      }
    }
    if (frame.committed !== undefined) this.#events.onHeard(asVersion(frame.committed));
    for (const entry of frame.entries) this.#propose(entry);
    if (frame.stateHash !== "") this.#events.onStateHash(frame.stateHashAt as Sequence, frame.stateHash);
    for (const { number, committed } of frame.readIndex) {
      if (committed !== undefined) this.#events.onReadIndex(number, asVersion(committed));
    }
  }

  #propose({ previous, entry }: ChangelogEntry): void {
    if (previous === undefined) {
      this.close("the primary sent an entry without its predecessor");
      return;
    }
    this.#feed.add(encodeFollowed(asVersion(previous), entry));
  }

  #pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#heardMs = performance.now(); // while the stream was paused, nothing could be heard
    this.#stream.resume();
  }

  #tick(): void {
    const silentMs = performance.now() - this.#heardMs;
    if (silentMs > (this.#welcomed ? SILENCE_MS : WELCOME_MS) && !this.#paused) {
      this.close("nothing has arrived from the primary for too long");
      return;
    }
    if (!this.#context.group.leading) {
      this.close("this server no longer leads its group");
      return;
    }
    this.#feed.retry();
    if (this.#welcomed) this.#report();
  }

  #report(): void {
    const { version } = this.#context.machine;
    const nowMs = performance.now();
    const isNews = this.#reported === undefined || compareVersions(this.#reported, version) !== 0;
    if (!isNews && nowMs - this.#reportedMs < REPORT_EVERY_MS) return;
    const report = this.#events.report();
    if (report === undefined) return;
    this.#reported = version;
    this.#reportedMs = nowMs;
    this.#stream.write({ hello: undefined, report, readIndex: [] });
  }
}
