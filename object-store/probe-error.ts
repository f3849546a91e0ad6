import { ObjectStoreError } from "./object-store.ts";

/** The error of a failed probe, as one line for the user: which bucket, why, and the remedy. */
export function probeError(url: string, error: ObjectStoreError, credentialsHint: string): ObjectStoreError {
  const line = (text: string, code = error.code) => new ObjectStoreError(code, text, { cause: error });
  const why = error.message.replace(`${url}: probe: `, "");
  switch (error.code) {
    case "noBucket":
    case "notFound":
      return line(
        `bucket ${url} does not exist (${why}): create it, or correct "bucket" in the volume file`,
        "noBucket",
      );
    case "denied":
      return line(`bucket ${url} refuses the credentials (${why}): ${credentialsHint}`);
    case "aborted":
      return error;
    default:
      return line(
        `bucket ${url} cannot be reached (${why}): check its endpoint in the volume file, and the network`,
        "unavailable",
      );
  }
}
