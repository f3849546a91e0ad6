import { type handleUnaryCall, type ServiceError, status } from "@grpc/grpc-js";
import { NOT_THE_LEADER } from "../../proto/refusals.ts";
import type { ServerContext } from "../region/context.ts";

/** A refusal, with the gRPC status that the caller gets. */
export class RefusedCall extends Error {
  override readonly name = "RefusedCall";
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

interface UnaryOptions {
  /** Members that do not lead refuse with UNAVAILABLE, and the caller asks the next one. */
  readonly onlyLeader: boolean;
}

/** Makes a gRPC handler of a function: checks the request first, and turns what the function throws into a gRPC error. */
export function unary<Q extends { volume: string }, A>(
  context: ServerContext,
  { onlyLeader }: UnaryOptions,
  handle: (request: Q) => A | Promise<A>,
): handleUnaryCall<Q, A> {
  return (call, done) => {
    Promise.resolve()
      .then(() => {
        checkRequest(context, call.request, onlyLeader);
        return handle(call.request);
      })
      .then(
        (answer) => done(null, answer),
        (error: Error) => done(serviceError(context, error)),
      );
  };
}

/** @throws RefusedCall for a request of another volume, and with `onlyLeader` at a member that is not the leader */
export function checkRequest(context: ServerContext, request: { volume: string }, onlyLeader: boolean): void {
  const { volume, group, region, member } = context;
  if (request.volume !== volume.volume) {
    throw new RefusedCall(status.FAILED_PRECONDITION, `this is volume ${volume.volume}, not ${request.volume}`);
  }
  if (onlyLeader && !group.leading) throw new RefusedCall(status.UNAVAILABLE, `${region}/${member} ${NOT_THE_LEADER}`);
}

/**
 * Ends a stream with an error, which the caller gets. The event makes gRPC send the status; `destroy` would close the stream
 * on this side only, and leave the caller waiting.
 */
export function failStream(
  stream: { emit(event: "error", error: Error): boolean },
  error: Partial<ServiceError>,
): void {
  stream.emit("error", Object.assign(new Error(error.details), error));
}

/** The gRPC error of a thrown error. Logs it, unless it is a refusal. */
export function serviceError(context: ServerContext, error: Error): Partial<ServiceError> {
  if (error instanceof RefusedCall) return { code: error.code, details: error.message };
  context.logger.error(error, "a request failed");
  return { code: status.INTERNAL, details: error.message };
}
