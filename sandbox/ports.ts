import { createServer } from "node:net";

/**
 * Below the kernel's ephemeral ports (from 32768), so that no outgoing connection takes a port between choice and
 * use.
 */
const FIRST = 20_000;
const LAST = 32_000;

/** @returns distinct free ports of 127.0.0.1. */
export async function choosePorts(count: number): Promise<number[]> {
  const chosen = new Set<number>();
  while (chosen.size < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (!chosen.has(port) && (await isFree(port))) chosen.add(port);
  }
  return [...chosen];
}

/** @returns a free port of 127.0.0.1. */
export async function choosePort(): Promise<number> {
  return (await choosePorts(1))[0]!;
}

export async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
