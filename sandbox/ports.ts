import { createServer } from "node:net";

/** Below the range that the kernel gives to outgoing connections (from 32768): nobody takes one between choice and use. */
const FIRST = 20_000;
const LAST = 32_000;

/** Free ports of 127.0.0.1, all different. */
export async function choosePorts(count: number): Promise<number[]> {
  const chosen = new Set<number>();
  while (chosen.size < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (!chosen.has(port) && (await isFree(port))) chosen.add(port);
  }
  return [...chosen];
}

/** A free port of 127.0.0.1. */
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
