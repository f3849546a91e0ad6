import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import type { Limits } from "./options.ts";

/**
 * HTTP agents for a vendor's SDK: connections are kept alive, bounded in number, and closed when connecting takes too long or
 * when no byte moves. The SDKs' own timeouts do not cover the middle of an upload or of a body.
 */
export function makeAgents(limits: Limits): { http: http.Agent; https: https.Agent } {
  const settings = {
    keepAlive: true,
    maxSockets: limits.sockets,
    scheduling: "lifo",
    noDelay: true,
    timeout: limits.idleTimeoutMs, // the agent only emits "timeout": `watch` closes the socket
  } as const;
  return { http: new WatchedHttpAgent(settings, limits), https: new WatchedHttpsAgent(settings, limits) };
}

class WatchedHttpAgent extends http.Agent {
  readonly #limits: Limits;
  constructor(settings: http.AgentOptions, limits: Limits) {
    super(settings);
    this.#limits = limits;
  }
  override createConnection(...args: Parameters<http.Agent["createConnection"]>) {
    return watch(super.createConnection(...args) as Socket, this.#limits, "connect");
  }
}

class WatchedHttpsAgent extends https.Agent {
  readonly #limits: Limits;
  constructor(settings: https.AgentOptions, limits: Limits) {
    super(settings);
    this.#limits = limits;
  }
  override createConnection(...args: Parameters<https.Agent["createConnection"]>) {
    return watch(super.createConnection(...args) as Socket, this.#limits, "secureConnect");
  }
}

function watch(socket: Socket, limits: Limits, connected: "connect" | "secureConnect"): Socket {
  const timer = setTimeout(
    () => socket.destroy(timedOut(`no connection in ${limits.connectTimeoutMs} ms`)),
    limits.connectTimeoutMs,
  );
  socket.once(connected, () => clearTimeout(timer));
  socket.once("close", () => clearTimeout(timer));
  socket.on("timeout", () => socket.destroy(timedOut(`no byte moved for ${limits.idleTimeoutMs} ms`)));
  return socket;
}

function timedOut(message: string): Error {
  return Object.assign(new Error(message), { code: "ETIMEDOUT" });
}
