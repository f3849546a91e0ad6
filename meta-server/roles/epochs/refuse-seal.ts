import { Metadata } from "@grpc/grpc-js";
import type { Version } from "../../../core/ids.ts";
import type { AdminClient } from "../../../proto/generated/admin.ts";

const ANSWER_MS = 2_000;

/**
 * Asks the region that an epoch is sealed to, to decline for good. Resolves with false if it has already begun the next
 * epoch, or if the outcome is unknown. Never rejects.
 */
export function refuseSeal(admin: AdminClient, volume: string, seal: Version): Promise<boolean> {
  return new Promise((resolve) => {
    admin.refuseSeal({ volume, seal }, new Metadata(), { deadline: Date.now() + ANSWER_MS }, (error, answer) =>
      resolve(error === null && answer.ok),
    );
  });
}
