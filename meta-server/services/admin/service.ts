import { status as grpcStatus, type handleUnaryCall } from "@grpc/grpc-js";
import type { AdminServer } from "../../../proto/generated/admin.ts";
import type { ServerContext } from "../context.ts";
import type { StatusReport } from "./status.ts";

export interface AdminSources {
  readonly status: StatusReport;
}

/** For people and scripts. */
export class AdminService {
  readonly #context: ServerContext;
  readonly handlers: AdminServer;

  constructor(context: ServerContext, sources: AdminSources) {
    this.#context = context;
    this.handlers = {
      status: this.#unary(() => sources.status.make()),
    } as AdminServer;
  }

  #unary<Q extends { volume: string }, A>(handle: (request: Q) => Promise<A>): handleUnaryCall<Q, A> {
    return (call, done) => {
      const { volume } = this.#context.volume;
      if (call.request.volume !== volume) {
        const details = `this is volume ${volume}, not ${call.request.volume}`;
        return done({ code: grpcStatus.FAILED_PRECONDITION, details });
      }
      handle(call.request).then(
        (answer) => done(null, answer),
        (error: Error) => {
          this.#context.logger.error(error, "an admin request failed");
          done({ code: grpcStatus.INTERNAL, details: error.message });
        },
      );
    };
  }
}
