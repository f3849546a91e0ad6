import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { WanProxy } from "../../sandbox/wan-proxy.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function serverOf(onConnection: (socket: net.Socket) => void): Promise<number> {
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  undo.push(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}

async function through(port: number, options: { delayMs: number; bytesPerSecond?: number }) {
  const { proxy, ports } = await WanProxy.start([{ target: { port } }], options);
  undo.push(() => proxy.stop());
  const connect = async () => {
    const socket = net.connect({ port: ports[0]!, host: "127.0.0.1" });
    await once(socket, "connect");
    socket.on("error", () => {});
    undo.push(() => socket.destroy());
    return socket;
  };
  return { proxy, connect };
}

const echo = () => serverOf((socket) => void socket.pipe(socket));

test("a round trip takes twice the delay, and little more", async () => {
  const { connect } = await through(await echo(), { delayMs: 30 });
  const socket = await connect();
  const tookMs: number[] = [];
  for (let i = 0; i < 5; i++) {
    const begunMs = performance.now();
    socket.write("ping");
    await once(socket, "data");
    tookMs.push(performance.now() - begunMs);
  }
  expect(Math.min(...tookMs)).toBeGreaterThanOrEqual(60);
  expect(Math.min(...tookMs)).toBeLessThan(75);
});

test("the delay does not limit throughput, and every byte arrives in order", async () => {
  const body = randomBytes(64 << 20);
  const sum = createHash("sha256");
  let bytes = 0;
  let done = () => {};
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const port = await serverOf((socket) => {
    socket.on("data", (piece) => {
      sum.update(piece);
      bytes += piece.length;
    });
    socket.on("end", done);
  });
  const { connect } = await through(port, { delayMs: 50 });
  const socket = await connect();
  const begunMs = performance.now();
  socket.end(body);
  await finished;
  const seconds = (performance.now() - begunMs) / 1000;
  expect(bytes).toBe(body.length);
  expect(sum.digest("hex")).toBe(createHash("sha256").update(body).digest("hex"));
  // One round trip per 64 KiB would be 1.3 MB/s.
  expect(body.length / seconds).toBeGreaterThan(30e6);
});

test("the bandwidth is limited", async () => {
  const { connect } = await through(await echo(), { delayMs: 1, bytesPerSecond: 1_000_000 });
  const socket = await connect();
  const begunMs = performance.now();
  socket.end(Buffer.alloc(500_000));
  let bytes = 0;
  socket.on("data", (piece) => {
    bytes += piece.length;
  });
  await once(socket, "end");
  expect(bytes).toBe(500_000);
  expect(performance.now() - begunMs).toBeGreaterThanOrEqual(480);
  expect(performance.now() - begunMs).toBeLessThan(10_000);
});

test("a receiver that does not read blocks the sender", async () => {
  const port = await serverOf((socket) => void socket.pause());
  const { connect } = await through(port, { delayMs: 1 });
  const socket = await connect();
  let accepted = 0;
  for (let i = 0; i < 200 && socket.writableLength < 8 << 20; i++) {
    socket.write(Buffer.alloc(1 << 20));
    await delay(5);
    accepted = socket.bytesWritten - socket.writableLength;
  }
  expect(socket.writableLength).toBeGreaterThan(0);
  expect(accepted).toBeLessThan(64 << 20);
});

test("during a partition nothing passes; afterwards everything arrives, in order", async () => {
  const { proxy, connect } = await through(await echo(), { delayMs: 5 });
  const socket = await connect();
  let got = "";
  socket.on("data", (piece) => {
    got += piece;
  });
  proxy.partition();
  socket.write("one ");
  const late = await connect();
  late.write("late");
  await delay(60);
  socket.write("two");
  await delay(60);
  expect(got).toBe("");
  proxy.heal();
  const [answer] = await once(late, "data");
  expect(String(answer)).toBe("late");
  await expect.poll(() => got).toBe("one two");
});

test("a partition of one direction lets the other pass", async () => {
  let arrived = "";
  const port = await serverOf((socket) => {
    socket.on("data", (piece) => {
      arrived += piece;
      socket.write("answer");
    });
  });
  const { proxy, connect } = await through(port, { delayMs: 2 });
  const socket = await connect();
  let answered = "";
  socket.on("data", (piece) => {
    answered += piece;
  });
  proxy.partition("fromTarget");
  socket.write("question");
  await expect.poll(() => arrived).toBe("question");
  await delay(50);
  expect(answered).toBe("");
  proxy.heal();
  await expect.poll(() => answered).toBe("answer");
});

test("a partition with reset closes open connections", async () => {
  const { proxy, connect } = await through(await echo(), { delayMs: 2 });
  const socket = await connect();
  socket.write("x");
  await once(socket, "data");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  proxy.partition("both", "reset");
  await closed;
  await expect.poll(() => proxy.connections).toBe(0);
});

test("a close by either side reaches the other after the delay", async () => {
  const port = await serverOf((socket) => void socket.end("bye"));
  const { proxy, connect } = await through(port, { delayMs: 20 });
  const socket = await connect();
  let got = "";
  socket.on("data", (piece) => {
    got += piece;
  });
  await once(socket, "end");
  expect(got).toBe("bye");
  await expect.poll(() => proxy.connections).toBe(0);
});
