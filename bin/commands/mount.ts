import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import type { Logger } from "pino";
import { createLogger } from "../../base/logger.ts";
import { keepFilesPrivate } from "../../base/private-files.ts";
import { UserError } from "../../base/user-error.ts";
import { parseMountOptions, type WrittenOptions } from "../mount-options.ts";
import { recordMount } from "../mount-record.ts";
import { readVolume, regionOf, withConfig, withLogLevel } from "../options.ts";
import { serve } from "../serve.ts";

interface MountFlags {
  readonly config: string;
  readonly region: string;
  readonly options: WrittenOptions;
  readonly foreground?: boolean;
  readonly logFile?: string;
  readonly logLevel: string;
}

export function addMount(program: Command): void {
  withLogLevel(withConfig(program.command("mount")))
    .description("mount a volume at a directory; returns once it is mounted, and serves it in the background")
    .argument("<dir>", "an empty directory")
    .requiredOption("--region <name>", "region to read from: the nearest one")
    .addOption(
      new Option("-o, --options <list>", "mount options, as key=value,… (listed in docs/operations/configure.md)")
        .argParser(parseMountOptions)
        .default({}, "none"),
    )
    .option("--foreground", "serve the mount in this process, and unmount when it ends")
    .option(
      "--log-file <file>",
      `log of the background process (default: mount-VOLUME-REGION.log in ${logDirectory()})`,
    )
    .action(async (dir, flags) => await mount(dir, flags));

  // The command line that mount(8) gives a helper: mount.mirrorfs SOURCE DIR [-sfnv] [-N namespace] [-t type] [-o options].
  program
    .command("mount.mirrorfs", { hidden: true })
    .argument("<source>")
    .argument("<dir>")
    .option("-s")
    .option("-f")
    .option("-n")
    .option("-v")
    .option("-N <namespace>")
    .option("-t <type>")
    .addOption(new Option("-o <list>").argParser(parseMountOptions).default({}))
    .action(async (source, dir, flags) => {
      const { region, logfile, ...options } = flags.o;
      if (region === undefined)
        throw new UserError(`${dir}: no region to read from: add region=NAME to the mount options`, 2);
      if (!flags.f) await mount(dir, { config: source, region, options, logFile: logfile, logLevel: "info" });
    });
}

async function mount(dir: string, flags: MountFlags): Promise<void> {
  keepFilesPrivate();
  const volume = readVolume(flags);
  const region = regionOf(volume, flags.region);
  if (!flags.foreground) return await mountInBackground(dir, flags, `${volume.volume}-${region.name}`);
  const logger = createLogger(flags.logLevel, { name: `${region.name}-mount`, dir });
  const { runMount } = await import("../../client/mount/main.ts");
  const options = { ...flags.options };
  const running = runMount({ volume, region: region.name, mountPoint: resolve(dir), options, logger });
  running.then(
    ({ device, source }) => record({ device, source, volumeFile: resolve(flags.config), logger }),
    () => {},
  );
  // The parent waits for this message in `mountInBackground`.
  running.then(
    () => process.send?.({ mounted: true }),
    () => {},
  );
  await serve(running, logger);
}

/** For `info` and `wait` of a path in the mount. Without the record they need --config, so a failure is only logged. */
function record(mount: { device: string | undefined; source: string; volumeFile: string; logger: Logger }): void {
  const { device, source, volumeFile, logger } = mount;
  if (device === undefined) return;
  try {
    process.on("exit", recordMount({ device, source }, volumeFile));
  } catch (error) {
    logger.warn({ err: error }, "the volume file of this mount is not recorded: info and wait need --config");
  }
}

/** Starts a process that serves the mount, and waits until it is mounted. @throws UserError with that process's error. */
async function mountInBackground(dir: string, flags: MountFlags, name: string): Promise<void> {
  const logFile = resolve(flags.logFile ?? join(logDirectory(), `mount-${name}.log`));
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, "a");
  const options = Object.entries(flags.options).map(([key, value]) => (value === "" ? key : `${key}=${value}`));
  const args = ["mount", resolve(dir), "--foreground", "--config", resolve(flags.config), "--region", flags.region];
  if (options.length > 0) args.push("-o", options.join(","));
  args.push("--log-level", flags.logLevel);
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    cwd: "/",
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  await new Promise<void>((done, failed) => {
    child.once("error", failed);
    child.once("exit", (code) =>
      failed(new UserError(`${dir}: not mounted: its process ended with exit code ${code}; see ${logFile}`)),
    );
    child.on("message", (message: { mounted?: true; failed?: string; exitCode?: 1 | 2 }) =>
      message.mounted ? done() : failed(new UserError(message.failed ?? "not mounted", message.exitCode)),
    );
    process.once("SIGINT", () => child.kill("SIGTERM"));
    process.once("SIGTERM", () => child.kill("SIGTERM"));
  });
  child.disconnect();
  child.unref();
}

function logDirectory(): string {
  return process.getuid?.() === 0 ? "/var/log/mirrorfs" : join(homedir(), ".local/state/mirrorfs");
}
