import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { UserError } from "../base/user-error.ts";

const SCRIPT = fileURLToPath(new URL("./prerequisites", import.meta.url));

/** Installs redis-server and fuse3 if they are missing. @throws UserError that says what to install if it cannot. */
export function ensure(environment: NodeJS.ProcessEnv): void {
  const done = spawnSync(SCRIPT, ["redis", "fuse"], {
    env: environment,
    stdio: ["ignore", "inherit", "pipe"],
    encoding: "utf8",
  });
  if (done.status === 0) return;
  const line = done.stderr.trim().split("\n").at(-1) ?? "";
  throw new UserError(line.replace(/^mirrorfs: /, "") || `${SCRIPT} failed: ${done.error?.message ?? done.status}`);
}
