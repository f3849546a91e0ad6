/** A child process that echoes every message of a bare gRPC stream. It sends its port to the parent. */
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
