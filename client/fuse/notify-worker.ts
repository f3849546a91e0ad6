import fs from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

/**
 * The thread that tells the kernel what to drop. A write here waits for pages and directories that have an unanswered
 * request; the event loop, which has to answer that request, must never wait for it.
 */
const { fd } = workerData as { fd: number };

function write(message: Uint8Array): string {
  try {
    fs.writeSync(fd, message);
    return "";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** A batch of messages in; for each, "" or the errno's name out. */
parentPort!.on("message", (batch: readonly Uint8Array[]) => parentPort!.postMessage(batch.map(write)));
