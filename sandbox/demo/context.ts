import { type ChildProcess, spawn } from "node:child_process";
import type { Cloud } from "../cloud.ts";
import type { RegionName } from "../layout.ts";
import { type Job, type JobEnvironment, runToEnd } from "./job.ts";
import type { Manifest } from "./manifest.ts";
import type { ManifestTask } from "./manifest-job.ts";
import type { Report } from "./report.ts";

/** What `mirrorfs status` reports, as far as the demo uses it. */
export interface VolumeView {
  readonly epoch: number;
  readonly primary: string;
  readonly regions: Readonly<
    Record<
      string,
      {
        readonly role: string;
        readonly leader: string | null;
        readonly members: readonly { readonly id: number; readonly reachable: boolean; readonly leader: boolean }[];
        readonly sequence: number | null;
        readonly stateHash: string | null;
        readonly lag: { readonly commands: number | null; readonly ms: number | null };
        readonly blocks: {
          readonly pending: number | null;
          readonly oldestPendingMs: number | null;
          readonly failed: number | null;
        };
      }
    >
  >;
}

export interface DemoContext extends JobEnvironment {
  readonly cloud: Cloud;
  readonly report: Report;
  /** The tree to copy; by default the project's own node_modules. */
  readonly source: string | undefined;
  readonly view: () => Promise<VolumeView>;
  /** Runs bin/mirrorfs on the volume. @returns its output. @throws UserError with its error message. */
  readonly mirrorfs: (...args: string[]) => Promise<string>;
}

export function mountPath(context: DemoContext, region: RegionName, ...parts: string[]): string {
  return [context.cloud.places.mountPoint(region), ...parts].join("/");
}

/** Reads trees in a child process. @returns what they consist of. */
export async function manifestOf(context: DemoContext, task: ManifestTask): Promise<Manifest> {
  const script = new URL("./manifest-job.ts", import.meta.url);
  const [manifest] = await runToEnd<ManifestTask, Manifest>(script, task, context);
  if (manifest === undefined || manifest.size < task.entries.length)
    throw new Error(`${task.root}: was not read completely`);
  return manifest;
}

/** Runs a program to its end. @throws Error with its last line on stderr. */
export async function runProgram(
  context: DemoContext,
  command: string,
  args: readonly string[],
  options: { cwd: string; input: string },
): Promise<void> {
  const child: ChildProcess = spawn(command, args, {
    cwd: options.cwd,
    stdio: ["pipe", "ignore", "pipe"],
    signal: context.ending,
    killSignal: "SIGKILL",
  });
  child.stdin!.end(options.input);
  let stderr = "";
  child.stderr!.on("data", (data) => {
    stderr += data;
  });
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} failed: ${stderr.trim().split("\n").at(-1)}`)),
    );
  });
}

export async function finishAll(jobs: readonly Job[]): Promise<void> {
  await Promise.all(jobs.map((job) => job.finish()));
}
