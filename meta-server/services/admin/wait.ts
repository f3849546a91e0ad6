import type { ServerWritableStream } from "@grpc/grpc-js";
import { pause } from "../../../base/waiting.ts";
import { decodeAttributes } from "../../../core/codec.ts";
import { compareVersions } from "../../../core/ids.ts";
import type { WaitProgress, WaitRequest } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import { leaderAddress, type ServerContext } from "../../region/context.ts";
import { resolvePath } from "../../region/paths.ts";
import { checkRequest, failStream, serviceError } from "../unary.ts";
import { pendingBelow } from "./trees.ts";

const POLL_MS = 20;
const PROGRESS_MS = 500;

/**
 * Streams progress until a tree can be read here without the WAN: first until its metadata is applied, then until the blocks
 * that it has by then are resident.
 */
export async function waitForTree(
  context: ServerContext,
  stream: ServerWritableStream<WaitRequest, WaitProgress>,
): Promise<void> {
  const { machine } = context;
  const send = (progress: Partial<WaitProgress>) => stream.write({ ...START, version: machine.version, ...progress });
  let cancelled = false;
  stream.on("cancelled", () => {
    cancelled = true;
  });
  try {
    checkRequest(context, stream.request, true);
    const atLeast = asVersion(stream.request.atLeast);
    const mayContinue = () => !cancelled && context.group.leading;
    await until(
      () => compareVersions(machine.version, atLeast) >= 0,
      mayContinue,
      () => send({}),
    );
    const inode = resolvePath(machine, stream.request.path);
    const bytes = typeof inode === "string" ? undefined : machine.tree.attributesBytes(inode);
    if (bytes === undefined) send({ error: `${stream.request.path}: no such file or directory` });
    else {
      const left = await pendingBelow(machine, decodeAttributes(bytes));
      const done = () => {
        for (const slice of left.keys()) if (!machine.facts.isPending(slice)) left.delete(slice);
        return left.size === 0;
      };
      const progress = () => {
        const pending = [...left.values()];
        send({
          pendingBlocks: pending.reduce((sum, { blocks }) => sum + blocks, 0),
          pendingBytes: pending.reduce((sum, one) => sum + one.bytes, 0),
        });
      };
      await until(done, mayContinue, progress);
      if (left.size === 0) send({ done: true });
      else send({ error: "the leader changed", leader: leaderAddress(context) || "another" });
    }
    stream.end();
  } catch (error) {
    failStream(stream, serviceError(context, error as Error));
  }
}

const START: WaitProgress = {
  done: false,
  error: "",
  version: undefined,
  pendingBlocks: 0,
  pendingBytes: 0,
  leader: "",
};

async function until(holds: () => boolean, mayContinue: () => boolean, progress: () => void): Promise<void> {
  let reportedMs = 0;
  while (!holds() && mayContinue()) {
    if (Date.now() - reportedMs >= PROGRESS_MS) {
      reportedMs = Date.now();
      progress();
    }
    await pause(POLL_MS);
  }
}
