import { expect, test } from "vitest";
import { UserError } from "../../base/user-error.ts";
import { parseBucketUrl } from "../../object-store/open.ts";

test.each([
  ["file:///srv/bucket", { service: "file", directory: "/srv/bucket" }],
  ["s3://train-us?region=us-east-1", { service: "s3", bucket: "train-us", region: "us-east-1" }],
  ["s3://train-us", { service: "s3", bucket: "train-us", region: undefined, endpoint: undefined }],
  ["s3://train-us?endpoint=http://10.0.0.1:9000/", { endpoint: "http://10.0.0.1:9000", region: "us-east-1" }],
  ["gs://train-eu", { service: "gs", bucket: "train-eu", endpoint: undefined }],
  ["gs://train-eu?endpoint=https%3A%2F%2Fstorage.example", { endpoint: "https://storage.example" }],
])("%s is understood", (url, expected) => {
  expect(parseBucketUrl(url)).toMatchObject({ url, ...expected });
});

test.each([
  ["train-us", "write file:///dir"],
  ["https://train-us", "write file:///dir"],
  ["file://srv/bucket", "write file:///srv/bucket, with three slashes"],
  ["file:///", "the root directory cannot be a bucket"],
  ["file:///srv?region=x", 'unknown parameter "region"'],
  ["s3://train-us/prefix", 'a bucket\'s name has no path ("/prefix")'],
  ["s3://train-us?regoin=us-east-1", 'unknown parameter "regoin"'],
  ["s3://train-us?region=a&region=b", '"region" is given twice'],
  ["s3://train-us?endpoint=10.0.0.1:9000", '"endpoint" is no http:// or https:// URL'],
  ["s3://train-us:9000", "a port belongs in ?endpoint="],
  ["s3://A", "that is no bucket name"],
  ["gs://train-eu?region=eu", 'unknown parameter "region"'],
  ["gs://train-eu#x", '"#x" does not belong there'],
])("%s is refused: %s", (url, why) => {
  expect(() => parseBucketUrl(url)).toThrow(UserError);
  expect(() => parseBucketUrl(url)).toThrow(why);
});

test("credentials in a URL are refused and not repeated", () => {
  expect(() => parseBucketUrl("s3://key:secret@train-us")).toThrow("credentials do not belong");
  expect(() => parseBucketUrl("s3://key:secret@train-us")).not.toThrow("secret@");
});
