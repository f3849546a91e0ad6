import type { Message } from "../../../meta-server/raft/messages.ts";
import type { Receiver, SnapshotSource, Transport } from "../../../meta-server/transport/transport.ts";
import type { World } from "./world.ts";

/** Loses, delays, duplicates and reorders; cuts single directions. */
export class Network {
  lossShare = 0;
  duplicateShare = 0;
  delayMsMax = 5;
  /** Of messages that take twenty times as long. */
  slowShare = 0;
  readonly #world: World;
  readonly #receivers = new Map<number, Receiver>();
  readonly #cut = new Set<string>();
  readonly #streams = new Set<{ from: number; to: number; break: () => void }>();

  constructor(world: World) {
    this.#world = world;
  }

  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Its process is gone: streams to it and from it break. */
  disconnect(member: number): void {
    this.#receivers.delete(member);
    for (const stream of [...this.#streams]) if (stream.from === member || stream.to === member) stream.break();
  }

  transport(self: number, isAlive: () => boolean): Transport {
    return {
      start: (receiver) => this.#receivers.set(self, receiver),
      setPeers: () => undefined,
      send: (messages) => {
        if (!isAlive()) return;
        for (const message of messages) this.#send(message);
      },
      sendSnapshot: (to, source) => this.#sendSnapshot(self, to, source),
      stop: async () => undefined,
    };
  }

  #send(message: Message): void {
    const { chance } = this.#world;
    const copies = chance.happens(this.duplicateShare) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.#world.after(this.#delayMs(), () => {
        if (!this.#passes(message.from, message.to)) return;
        this.#receivers.get(message.to)?.receive([message]);
      });
    }
  }

  async #sendSnapshot(from: number, to: number, source: SnapshotSource): Promise<void> {
    const { promise: broken, reject } = Promise.withResolvers<never>();
    broken.catch(() => undefined);
    const stream = {
      from,
      to,
      break: () => {
        this.#world.touchPromises();
        reject(new Error("the stream broke"));
      },
    };
    const hop = () => Promise.race([this.#hop(from, to), broken]);
    this.#streams.add(stream);
    let intake: ReturnType<Receiver["receiveSnapshot"]>;
    try {
      await hop();
      const receiver = this.#receivers.get(to);
      if (receiver === undefined) throw new Error("nobody there");
      intake = receiver.receiveSnapshot(from, source.header);
      if (intake !== undefined) {
        let at = intake.at;
        source.taken(at);
        for await (const part of source.parts(at)) {
          await hop();
          await Promise.race([intake.take(part), broken]);
          source.taken(++at);
        }
        await Promise.race([intake.finish(at), broken]);
      }
      await Promise.race([this.#hop(to, from), broken]);
    } catch (error) {
      intake?.broke();
      throw error;
    } finally {
      this.#streams.delete(stream);
    }
  }

  #hop(from: number, to: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#world.after(this.#delayMs(), () => {
        this.#world.touchPromises();
        if (this.#passes(from, to)) resolve();
        else reject(new Error("the stream broke"));
      });
    });
  }

  #passes(from: number, to: number): boolean {
    return !this.#cut.has(`${from}>${to}`) && !this.#world.chance.happens(this.lossShare);
  }

  #delayMs(): number {
    const { chance } = this.#world;
    const slow = chance.happens(this.slowShare) ? 20 : 1;
    return chance.between(0.1, this.delayMsMax) * slow;
  }
}
