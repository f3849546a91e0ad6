import { Worker } from "node:worker_threads";
import type { RegionIndex } from "../../../core/ids.ts";
import type {
  AnswerMessage,
  AnswerOf,
  BlockRead,
  BlockUpload,
  ClaimAnswer,
  Question,
  ReadAnswer,
  UploadAnswer,
  WorkerStart,
} from "./protocol.ts";

/** A volume's blocks. The work is done in a thread of its own. */
export interface BlockService {
  read(block: BlockRead): Promise<ReadAnswer>;
  upload(block: BlockUpload): Promise<UploadAnswer>;
  claim(region: RegionIndex, uuid: string): Promise<ClaimAnswer>;
  close(): Promise<void>;
}

/** Starts the thread. @throws when it cannot start (the cache directory cannot be created). */
export async function openBlockService(start: WorkerStart, onFailure: (error: Error) => void): Promise<BlockService> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: start, name: "blocks" });
  const waiting = new Map<number, (answer: AnswerOf[keyof AnswerOf]) => void>();
  let nextId = 1;
  worker.on("message", ({ id, answer }: AnswerMessage) => {
    const resolve = waiting.get(id);
    waiting.delete(id);
    resolve?.(answer);
  });
  function ask<K extends Question["kind"]>(question: Extract<Question, { kind: K }>): Promise<AnswerOf[K]> {
    return new Promise((resolve) => {
      const id = nextId++;
      waiting.set(id, resolve as (answer: AnswerOf[keyof AnswerOf]) => void);
      worker.postMessage({ id, question });
    });
  }
  await new Promise<void>((resolve, reject) => {
    worker.once("online", resolve);
    worker.once("error", reject);
  });
  worker.on("error", onFailure);
  return {
    read: (block) => ask<"read">({ kind: "read", block }),
    upload: (block) => ask<"upload">({ kind: "upload", block }),
    claim: (region, uuid) => ask<"claim">({ kind: "claim", region, uuid }),
    async close() {
      await ask<"close">({ kind: "close" });
      await worker.terminate();
    },
  };
}
