/** The credentials of all connections between the processes of a volume. Nothing is encrypted or authenticated yet. */
import { type ChannelCredentials, credentials, ServerCredentials } from "@grpc/grpc-js";

export function channelCredentials(): ChannelCredentials {
  return credentials.createInsecure();
}

export function serverCredentials(): ServerCredentials {
  return ServerCredentials.createInsecure();
}
