import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { listFiles, ROOT } from "../rules/source-files.ts";
import { replaceOnce } from "../simulation/environment/hooks.ts";
import type { Fault } from "./fault.ts";

export interface Tried {
  readonly passed: number;
  readonly failed: number;
  /** The first line of the first failure. */
  readonly why: string | undefined;
}

/** A copy of the working tree, in which faults can be put without touching the original. */
export class Copy {
  readonly directory = mkdtempSync(join(tmpdir(), "mirrorfs-faults-"));

  constructor() {
    for (const path of listFiles("*")) {
      mkdirSync(dirname(join(this.directory, path)), { recursive: true });
      cpSync(join(ROOT, path), join(this.directory, path));
    }
    symlinkSync(join(ROOT, "node_modules"), join(this.directory, "node_modules"));
    // The tests of the rules ask git for the files.
    execFileSync("git", ["init", "--quiet"], { cwd: this.directory });
    execFileSync("git", ["add", "--all"], { cwd: this.directory });
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Runs the fault's test with the fault in place, or without it (`control`). @throws when a text is not there once. */
  async try({ replacements, test, title }: Fault, options: { control: boolean; signal: AbortSignal }): Promise<Tried> {
    const originals = new Map<string, string>();
    try {
      for (const one of options.control ? [] : replacements) {
        const path = join(this.directory, one.file);
        const source = readFileSync(path, "utf8");
        if (!originals.has(path)) originals.set(path, source);
        writeFileSync(path, replaceOnce(source, one));
      }
      return await this.#run(test, title, options.signal);
    } finally {
      for (const [path, source] of originals) writeFileSync(path, source);
    }
  }

  async #run(test: string, title: string | undefined, signal: AbortSignal): Promise<Tried> {
    const report = join(this.directory, "report.json");
    rmSync(report, { force: true });
    const only = title === undefined ? [] : ["--testNamePattern", escaped(title)];
    const vitest = join(this.directory, "node_modules/.bin/vitest");
    const args = [vitest, "run", test, ...only, "--reporter=json", `--outputFile=${report}`];
    // With this Node: the `node` of the path may be another one, on which tests fail for reasons of their own.
    const child = spawn(process.execPath, args, {
      cwd: this.directory,
      stdio: "ignore",
      signal,
      killSignal: "SIGKILL",
    });
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => resolve());
    });
    return readReport(report);
  }
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly failureMessages?: readonly string[] }[];
  }[];
}

/** @throws when no test ran: a file that does not load catches nothing. */
function readReport(path: string): Tried {
  const {
    numPassedTests: passed,
    numFailedTests: failed,
    testResults,
  }: Report = JSON.parse(readFileSync(path, "utf8"));
  if (passed + failed === 0) throw new Error(`no test ran: ${testResults.map(({ message }) => message).join("; ")}`);
  const messages = testResults.flatMap((file) => file.assertionResults.flatMap((it) => it.failureMessages ?? []));
  return { passed, failed, why: messages[0]?.split("\n")[0] };
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
