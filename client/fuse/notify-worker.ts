import fs from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

/**
 * The thread that writes invalidations to the kernel. Such a write blocks while an unanswered request holds the pages
 * or the directory; the event loop, which has to answer that request, must never block on it.
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

/** Takes a batch of messages; replies for each of them "", or the name of the errno. */
parentPort!.on("message", (batch: readonly Uint8Array[]) => parentPort!.postMessage(batch.map(write)));
