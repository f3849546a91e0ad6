import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { UserError } from "../../base/user-error.ts";
import type { RegionName } from "../layout.ts";
import { type DemoContext, manifestOf, mountPath, runProgram } from "./context.ts";
import type { FillEvent, FillTask } from "./fill-job.ts";
import { runToEnd } from "./job.ts";
import { differences, type Manifest } from "./manifest.ts";
import { type Limits, select } from "./selection.ts";

const PACKAGES = fileURLToPath(new URL("../../node_modules", import.meta.url));
const MIB = 1024 * 1024;
/** Without the tools' caches (.vite and the like), which change while they are read. */
const PACKAGES_LIMITS: Limits = { files: 5_000, bytes: 192 * MIB, entryBytes: 48 * MIB, without: /^\.(?!bin$)/ };
const NO_LIMITS: Limits = {
  files: Number.POSITIVE_INFINITY,
  bytes: Number.POSITIVE_INFINITY,
  entryBytes: Number.POSITIVE_INFINITY,
};
const LARGE_MIB = 256;
const COPIES_AT_ONCE = 4;
const READS_AT_ONCE = 64;

/** What was copied, for comparison in the mirror. */
export interface Copied {
  readonly entries: readonly string[];
  readonly expected: Manifest;
  readonly largeSha256: string;
}

/** Use 1: writes a real tree and a large file in the primary. */
export async function copyIn(context: DemoContext): Promise<Copied> {
  const { report } = context;
  report.part("1. Primary mount: copy a real tree into mnt/aws");
  const source = context.source ?? PACKAGES;
  const chosen = await select(source, context.source === undefined ? PACKAGES_LIMITS : NO_LIMITS);
  if (chosen.files === 0) throw new UserError(`${source}: it contains nothing to copy`, 2);
  const expected = await manifestOf(context, { root: source, entries: chosen.entries, atOnce: READS_AT_ONCE });
  const left = chosen.left === 0 ? "" : `, ${chosen.left} entries skipped (size limits)`;
  report.figure(`${source}: ${chosen.files} files and links, ${(chosen.bytes / MIB).toFixed(0)} MiB${left}`);

  const tree = mountPath(context, "aws", "tree");
  const copied = await report.timed("copying", async () => {
    await runProgram(context, "mkdir", [tree], { cwd: "/", input: "" });
    const args = ["-0", "-P", String(COPIES_AT_ONCE), "-n", "4", "cp", "-a", "-t", tree, "--"];
    await runProgram(context, "xargs", args, { cwd: source, input: chosen.entries.join("\0") });
  });
  report.figure(
    `cp -a, ${COPIES_AT_ONCE} in parallel: ${copied.seconds.toFixed(1)} s, ${Math.round(chosen.files / copied.seconds)} files/s`,
  );

  const large = await report.timed("writing the large file", () => writeLarge(context));
  report.figure(
    `one file of ${LARGE_MIB} MiB: ${large.seconds.toFixed(1)} s, ${Math.round(LARGE_MIB / large.seconds)} MiB/s with fsync`,
  );
  return { entries: chosen.entries, expected, largeSha256: large.result };
}

async function writeLarge(context: DemoContext): Promise<string> {
  const script = new URL("./fill-job.ts", import.meta.url);
  const task: FillTask = { kind: "large", path: mountPath(context, "aws", "large.bin"), mib: LARGE_MIB };
  const [written] = await runToEnd<FillTask, FillEvent>(script, task, context);
  return written!.sha256;
}

/** Use 2: compares the tree in the other cloud, first immediately, then from the mirror's own bucket alone. */
export async function compareInMirror(context: DemoContext, copied: Copied): Promise<void> {
  const { report, cloud } = context;
  report.part("2. Mirror mount in another cloud: compare everything through mnt/gcp");
  const before = await context.view();
  const behind = before.regions.gcp;
  report.figure(
    `immediately after the copy the mirror is ${behind?.lag.commands} commands and ${behind?.blocks.pending} blocks behind`,
  );
  await compareTree(context, copied, { region: "gcp", when: "immediately" });

  const waited = await report.timed("waiting for the mirror", () =>
    context.mirrorfs("wait", "/", "--region", "gcp", "--json"),
  );
  report.figure(`mirrorfs wait / --region gcp: ${waited.seconds.toFixed(1)} s`);
  await remountWithEmptyCache(context);
  cloud.wan.cutBucket("gcp", "aws");
  const when = "from the mirror's own bucket (primary's bucket unreachable, caches empty)";
  await compareTree(context, copied, { region: "gcp", when });
  cloud.wan.heal();
}

/** Reads all that was copied through a region's mount. `when` is printed. */
export async function compareTree(
  context: DemoContext,
  { entries, expected, largeSha256 }: Copied,
  { region, when }: { region: RegionName; when: string },
): Promise<void> {
  const { report } = context;
  const read = await report.timed("comparing", () =>
    manifestOf(context, { root: mountPath(context, region, "tree"), entries, atOnce: READS_AT_ONCE }),
  );
  const rate = Math.round(expected.size / read.seconds);
  report.figure(
    `${expected.size} paths, ${READS_AT_ONCE} files in parallel: ${read.seconds.toFixed(1)} s, ${rate} paths/s`,
  );
  report.check(
    `tree read ${when}: ${expected.size} paths with the same type, mode, size, mtime (ns), link target and SHA-256`,
    differences(expected, read.result),
  );
  const large = await report.timed("reading the large file", () =>
    manifestOf(context, { root: mountPath(context, region), entries: ["large.bin"], atOnce: 1 }),
  );
  report.figure(`large file: ${large.seconds.toFixed(1)} s, ${Math.round(LARGE_MIB / large.seconds)} MiB/s`);
  const found = large.result.get("large.bin");
  const wrong =
    found?.bytes === LARGE_MIB * MIB && found.sha256 === largeSha256
      ? []
      : [`size ${found?.bytes}, SHA-256 ${found?.sha256}`];
  report.check(`large file read ${when}: same size and SHA-256`, wrong);
}

async function remountWithEmptyCache({ cloud }: DemoContext): Promise<void> {
  await cloud.supervisor.end("gcp-mount");
  const cache = cloud.places.cache("gcp");
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache);
  await cloud.supervisor.revive(["gcp-mount"]);
}
