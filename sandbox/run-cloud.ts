import type { CloudServer } from "./cloud-server.ts";

/** Runs a server as a process: one line of JSON on stdout when it is ready, until SIGINT or SIGTERM. */
export async function runCloud(start: () => Promise<{ server: CloudServer; ready: object }>): Promise<void> {
  try {
    const { server, ready } = await start();
    const stop = () => void server.stop().then(() => process.exit(0));
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    process.stdout.write(`${JSON.stringify(ready)}\n`);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
