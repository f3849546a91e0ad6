import type { ServerDuplexStream } from "@grpc/grpc-js";
import { waitForDrain } from "../../../base/wait-for-drain.ts";
import { chainOf, forkOf } from "../../../core/chain.ts";
import type { Version } from "../../../core/ids.ts";
import {
  type ChangelogFrame,
  FollowAnswer,
  type FollowerFrame,
  type FollowHello,
  type FollowWelcome,
  type ReadIndexAnswer,
} from "../../../proto/generated/changelog.ts";
import { asLink, asVersion, versionText } from "../../../proto/versions.ts";
import { CHECKPOINT_EVERY } from "../../machine/checkpoints.ts";
import type { TakenEntry } from "../../machine/machine.ts";
import type { ServerContext } from "../../region/context.ts";
import { asBuffer } from "../metadata/responses.ts";
import { LogReader } from "./log-reader.ts";
import type { RegionReports } from "./region-reports.ts";

const FRAME_BYTES = 512 * 1024;
/** A mirror's group takes some thousand entries at once, and its heartbeats wait behind a frame. */
const FRAME_ENTRIES = 1_024;
const HEARTBEAT_MS = 150;

export interface ChangelogOptions {
  readonly reports: RegionReports;
  /** Whether this server leads the primary's group and its epoch is current as far as it can know. */
  readonly isServing: () => boolean;
  /** The same, also while the epoch is sealed: only then the log is given out as the primary's changelog. */
  readonly mayFeed: () => boolean;
  /** A mirror has seen this version of the volume with this uuid. */
  readonly onSeen: (version: Version, uuid: string) => void;
}

export interface FollowStreamOptions extends ChangelogOptions {
  readonly onEnd: (stream: FollowStream) => void;
}

/** The stream to one mirror: sends committed entries as they come, in order, as fast as the mirror reads. */
export class FollowStream {
  readonly #context: ServerContext;
  readonly #options: FollowStreamOptions;
  readonly #stream: ServerDuplexStream<FollowerFrame, ChangelogFrame>;
  readonly #timer: NodeJS.Timeout;
  #region = "";
  #reader: LogReader | undefined;
  #unpin: () => void = () => {};
  #pumping = false;
  #again = false;
  #ended = false;
  #sentMs = 0;

  constructor(
    context: ServerContext,
    stream: ServerDuplexStream<FollowerFrame, ChangelogFrame>,
    options: FollowStreamOptions,
  ) {
    this.#context = context;
    this.#stream = stream;
    this.#options = options;
    this.#timer = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
    stream.on("data", (frame: FollowerFrame) => this.#receive(frame));
    for (const event of ["end", "error", "cancelled", "close"]) stream.on(event, () => this.end());
  }

  /** The machine has applied a turn. */
  wake(): void {
    this.#again = true;
    if (!this.#pumping && this.#reader !== undefined) void this.#pump();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    this.#unpin();
    this.#stream.end();
    this.#options.onEnd(this);
  }

  #receive({ hello, report, readIndex }: FollowerFrame): void {
    if (this.#ended) return;
    if (hello !== undefined) {
      this.#start(hello).catch((error) => {
        this.#context.logger.error(error, "a mirror's stream could not be opened");
        this.end();
      });
    }
    if (report?.applied !== undefined) {
      this.#options.reports.put(this.#region, asVersion(report.applied), report.openOrphans);
    }
    if (readIndex.length > 0) this.#answer(readIndex);
  }

  async #start(hello: FollowHello): Promise<void> {
    this.#region = hello.region;
    this.#options.onSeen(asVersion(hello.from), hello.uuid);
    const welcome = this.#refusal(hello) ?? (await this.#open(hello));
    this.#write({ welcome });
    if (welcome.answer !== FollowAnswer.FOLLOWING) this.end();
    else this.wake();
  }

  #refusal(hello: FollowHello): FollowWelcome | undefined {
    const { volume, machine, region } = this.#context;
    const refuse = (message: string) => ({ answer: FollowAnswer.REFUSED, message, version: machine.version });
    if (hello.volume !== volume.volume) return refuse(`this is volume ${volume.volume}, not ${hello.volume}`);
    const uuid = machine.tree.volume?.uuid ?? "";
    if (hello.uuid !== "" && hello.uuid !== uuid) {
      return refuse(`this is another volume of the same name: its uuid is ${uuid}, not ${hello.uuid}`);
    }
    const { features } = machine.tree;
    if (hello.supports < features) {
      return refuse(
        `the volume is at feature level ${features}, and the leader of ${hello.region} supports ${hello.supports}: start a newer program there`,
      );
    }
    if (!this.#context.group.leading || machine.primary !== region) {
      return refuse(`${region}/${this.#context.member} is not the leader of the primary`);
    }
    if (!this.#options.mayFeed()) return refuse(`${region} does not know whether its epoch is still current`);
    return undefined;
  }

  async #open(hello: FollowHello): Promise<FollowWelcome> {
    const { machine } = this.#context;
    const from = asVersion(hello.from);
    const release = machine.pin(from.sequence);
    const opened = await LogReader.open(this.#context, from).catch((error) => {
      release();
      throw error;
    });
    if (opened instanceof LogReader) {
      this.#reader = opened;
      this.#unpin = release;
      if (this.#ended) release();
      return { answer: FollowAnswer.FOLLOWING, message: "", version: machine.version };
    }
    release();
    if (opened === "bootstrap") return { answer: FollowAnswer.BOOTSTRAP, message: "", version: machine.version };
    const mirror = { chain: hello.chain.map(asLink), version: from };
    const fork = forkOf({ chain: chainOf(machine.tree), version: machine.version }, mirror);
    const message = `${hello.region} is at ${versionText(from)}, but the primary's history departs from it after ${versionText(fork)}`;
    return { answer: FollowAnswer.FORKED, message, version: fork };
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while (this.#again && !this.#ended) {
        this.#again = false;
        await this.#sendAll();
      }
    } catch (error) {
      this.#context.logger.error(error, "the changelog could not be read");
      this.end();
    } finally {
      this.#pumping = false;
    }
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      const taken = await this.#reader!.next(FRAME_BYTES);
      if (taken === undefined) {
        this.end();
        return;
      }
      if (!this.#options.mayFeed()) this.end();
      if (taken.length === 0 || this.#ended) return;
      for (let at = 0; at < taken.length && !this.#ended; at += FRAME_ENTRIES) {
        const frame = this.#entriesFrame(taken.slice(at, at + FRAME_ENTRIES));
        if (!this.#write(frame)) await waitForDrain(this.#stream);
      }
    }
  }

  #entriesFrame(taken: readonly TakenEntry[]): Partial<ChangelogFrame> {
    const last = taken.at(-1)!.version.sequence;
    const checkpoint = last - (last % CHECKPOINT_EVERY);
    const first = taken[0]!.version.sequence;
    return {
      entries: taken.map(({ previous, body }) => ({ previous, entry: asBuffer(body) })),
      ...(checkpoint >= first ? this.#hash(checkpoint) : {}),
    };
  }

  #hash(sequence: number): Pick<ChangelogFrame, "stateHash" | "stateHashAt"> {
    return { stateHash: this.#context.machine.hashAt(sequence) ?? "", stateHashAt: sequence };
  }

  /** A heartbeat while nothing else is sent: the primary's version, and the state hash there. */
  #heartbeat(): void {
    if (this.#reader !== undefined && !this.#options.mayFeed()) this.end();
    if (this.#reader === undefined || this.#pumping || performance.now() - this.#sentMs < HEARTBEAT_MS * 0.9) return;
    const { machine } = this.#context;
    const level = this.#reader.version.sequence === machine.version.sequence;
    this.#write(level ? this.#hash(machine.version.sequence) : {});
  }

  /**
   * What is committed when the question arrives, confirmed by the group. A sealed or fenced region cannot know, and does not
   * answer.
   */
  #answer(numbers: readonly number[]): void {
    const { group, machine } = this.#context;
    group.readIndex((confirmed) => {
      if (!confirmed || !this.#options.isServing()) return;
      const committed = machine.version;
      const readIndex: ReadIndexAnswer[] = numbers.map((number) => ({ number, committed }));
      this.#write({ readIndex });
    });
  }

  #write(frame: Partial<ChangelogFrame>): boolean {
    if (this.#ended) return true;
    this.#sentMs = performance.now();
    const committed: Version = this.#context.machine.version;
    return this.#stream.write({
      welcome: undefined,
      entries: [],
      committed,
      stateHash: "",
      stateHashAt: 0,
      readIndex: [],
      ...frame,
    });
  }
}
