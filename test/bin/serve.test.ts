import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { ROOT } from "../rules/source-files.ts";

/** A process whose service takes so long to stop. @returns when it serves. */
async function serving(stopMs: number) {
  const program = `
    import { pino } from "pino";
    import { serve } from ${JSON.stringify(join(ROOT, "bin/serve.ts"))};
    const life = setTimeout(() => {}, 60_000);
    const stop = () => new Promise((done) => setTimeout(() => { console.log("in order"); done(); }, ${stopMs}));
    const served = serve({ stop }, pino({ level: "silent" }));
    console.log("serves"); // only now: a signal before serve() listens would end the process
    await served;
    clearTimeout(life);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { cwd: ROOT });
  let said = "";
  child.stdout.on("data", (data) => {
    said += data;
  });
  const ended = new Promise<number | null>((done) => child.once("close", done));
  await expect.poll(() => said, { timeout: 20_000 }).toBe("serves\n");
  return { child, ended, said: () => said };
}

async function terminate(child: ChildProcess, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    child.kill("SIGTERM");
    await delay(100);
  }
}

it("a signal that the kernel sends several times, as it does when a parent is killed, is one", async () => {
  const { child, ended, said } = await serving(1000);
  await terminate(child, 5);
  expect(await ended).toBe(0);
  expect(said()).toBe("serves\nin order\n");
});

it("a second signal, later, ends it at once", async () => {
  const { child, ended, said } = await serving(40_000);
  await terminate(child, 1);
  await delay(2500);
  await terminate(child, 1);
  expect(await ended).toBe(1);
  expect(said()).toBe("serves\n");
});
