/** A process of its own that sends back whatever comes on a bare gRPC stream, and tells its parent the port. */
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { ECHO } from "./baselines.ts";

const server = new Server();
server.addService(
  { echo: ECHO },
  {
    echo: (stream: ServerDuplexStream<Buffer, Buffer>) => {
      stream.on("data", (bytes: Buffer) => stream.write(bytes));
      stream.on("error", () => {});
      stream.on("end", () => stream.end());
    },
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send!(port);
});
process.on("disconnect", () => process.exit());
