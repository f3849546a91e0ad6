import { keepFilesPrivate } from "../base/private-files.ts";
import type { CloudServer, Listen } from "./cloud-server.ts";

/** The command line of both cloud servers, for `parseArgs`. */
export const CLOUD_OPTIONS = {
  dir: { type: "string" },
  port: { type: "string", default: "0" },
  host: { type: "string", default: "127.0.0.1" },
  bucket: { type: "string", multiple: true, default: [] as string[] },
} as const;

export interface CloudArguments {
  readonly dir?: string;
  readonly port: string;
  readonly host: string;
  readonly bucket: readonly string[];
}

export interface CloudOptions extends Listen {
  readonly directory: string;
  readonly buckets: readonly string[];
}

/** Runs a cloud server as a process until SIGINT or SIGTERM; prints one line of JSON on stdout when it is ready. */
export async function runCloud(
  { dir: directory, bucket: buckets, host, port }: CloudArguments,
  start: (options: CloudOptions) => Promise<{ server: CloudServer; ready: object }>,
): Promise<void> {
  keepFilesPrivate();
  try {
    if (directory === undefined || buckets.length === 0) throw new Error("--dir and --bucket are required");
    const { server, ready } = await start({ directory, buckets, host, port: Number(port) });
    const stop = () => void server.stop().then(() => process.exit(0));
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    process.stdout.write(`${JSON.stringify(ready)}\n`);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
