import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { z } from "zod";
import { WanProxy } from "./wan-proxy.ts";

/** One JSON a line on stdin; each is answered by one line on stdout. The process ends with its stdin. */
const orderSchema = z.union([
  z.strictObject({
    partition: z.enum(["both", "toTarget", "fromTarget"]),
    existing: z.enum(["stall", "reset"]).optional(),
  }),
  z.strictObject({ heal: z.literal(true) }),
  z.strictObject({ delayMs: z.number().nonnegative() }),
]);

const { values } = parseArgs({
  options: {
    "delay-ms": { type: "string", default: "0" },
    "bytes-per-second": { type: "string" },
    /** LISTEN:HOST:PORT, once for each path. */
    path: { type: "string", multiple: true, default: [] },
  },
});

const paths = values.path.map((path) => {
  const [listen, host, port] = path.split(":");
  return { listen: Number(listen), target: { host, port: Number(port) } };
});
const rate = values["bytes-per-second"];
const options = { delayMs: Number(values["delay-ms"]), bytesPerSecond: rate === undefined ? undefined : Number(rate) };
const { proxy, ports } = await WanProxy.start(paths, options);
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ ports });

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const order = orderSchema.parse(JSON.parse(line));
    if ("partition" in order) proxy.partition(order.partition, order.existing);
    else if ("heal" in order) proxy.heal();
    else proxy.setDelay(order.delayMs);
    say({ done: order });
  } catch (error) {
    say({ error: (error as Error).message });
  }
}
await proxy.stop();
