import { type ChildProcess, spawn } from "node:child_process";
import type { Cloud } from "../cloud.ts";
import type { RegionName } from "../layout.ts";
import { type Job, type JobEnvironment, runToEnd } from "./job.ts";
import type { Manifest } from "./manifest.ts";
import type { ManifestTask } from "./manifest-job.ts";
import type { Report } from "./report.ts";

/** What the demo asks of the volume while it runs, through the primary's and the mirror's own servers. */
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
  /** The tree that is copied; undefined: the project's own packages. */
  readonly source: string | undefined;
  readonly view: () => Promise<VolumeView>;
  /** Runs bin/mirrorfs on the volume. @returns what it printed. @throws its line, when it failed. */
  readonly mirrorfs: (...args: string[]) => Promise<string>;
}

export function mountPath(context: DemoContext, region: RegionName, ...parts: string[]): string {
  return [context.cloud.places.mountPoint(region), ...parts].join("/");
}

/** Looks at trees in a process of its own. */
export async function manifestOf(context: DemoContext, task: ManifestTask): Promise<Manifest> {
  const script = new URL("./manifest-job.ts", import.meta.url);
  const [manifest] = await runToEnd<ManifestTask, Manifest>(script, task, context);
  if (manifest === undefined || manifest.size < task.entries.length) throw new Error(`${task.root}: was not looked at`);
  return manifest;
}

/** Runs a program to its end. @throws with its last line when it failed. */
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
  let said = "";
  child.stderr!.on("data", (data) => {
    said += data;
  });
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} failed: ${said.trim().split("\n").at(-1)}`)),
    );
  });
}

export async function finishAll(jobs: readonly Job[]): Promise<void> {
  await Promise.all(jobs.map((job) => job.finish()));
}
