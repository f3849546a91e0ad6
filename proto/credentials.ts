/** The one place where a connection between two processes of a volume gets its credentials. Nothing is encrypted yet. */
import { type ChannelCredentials, credentials, ServerCredentials } from "@grpc/grpc-js";

export function channelCredentials(): ChannelCredentials {
  return credentials.createInsecure();
}

export function serverCredentials(): ServerCredentials {
  return ServerCredentials.createInsecure();
}
