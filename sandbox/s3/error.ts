import { XMLBuilder } from "fast-xml-parser";

/** An error response of S3 (API Reference, "Error responses"). */
export class S3Error extends Error {
  override readonly name = "S3Error";
  readonly status: number;
  readonly code: string;
  readonly details: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, details: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

const builder = new XMLBuilder({ ignoreAttributes: false, attributeNamePrefix: "@" });

/** An XML document in S3's namespace. */
export function xml(root: string, content: object): string {
  const body = { "@xmlns": "http://s3.amazonaws.com/doc/2006-03-01/", ...content };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${builder.build({ [root]: body })}`;
}

export function errorXml(error: S3Error, resource: string, requestId: string): string {
  const body = { Code: error.code, Message: error.message, ...error.details, Resource: resource, RequestId: requestId };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${builder.build({ Error: body })}`;
}
