import type { EventEmitter } from "node:events";

/** Resolves when a full stream has room again, or has closed. Leaves no listener behind. */
export function waitForDrain(stream: EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}
