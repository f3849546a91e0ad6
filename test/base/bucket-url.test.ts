import { expect, test } from "vitest";
import { parseBucketUrl } from "../../base/bucket-url.ts";
import { UserError } from "../../base/user-error.ts";
import { openObjectStore } from "../../object-store/open.ts";

test.each([
  ["file:///srv/bucket", { service: "file", directory: "/srv/bucket" }],
  ["s3://train-us?region=us-east-1", { service: "s3", bucket: "train-us", region: "us-east-1" }],
  ["s3://train-us", { service: "s3", bucket: "train-us", region: undefined, endpoint: undefined }],
  ["s3://train-us?endpoint=http://10.0.0.1:9000/", { endpoint: "http://10.0.0.1:9000", region: "us-east-1" }],
  ["gs://train-eu", { service: "gs", bucket: "train-eu", endpoint: undefined }],
  ["gs://train-eu?endpoint=https%3A%2F%2Fstorage.example", { endpoint: "https://storage.example" }],
])("%s is parsed", (url, expected) => {
  expect(parseBucketUrl(url)).toMatchObject({ url, ...expected });
});

test.each([
  ["train-us", "must be file:///dir, s3://name?region=… or gs://name"],
  ["https://train-us", "must be file:///dir, s3://name?region=… or gs://name"],
  ["file://srv/bucket", "must be file:///srv/bucket, with three slashes"],
  ["file:///", "must not be the root directory"],
  ["file:///srv?region=x", 'has an unknown parameter "region"'],
  ["s3://train-us/prefix", 'must be a whole bucket, without a path ("/prefix")'],
  ["s3://train-us?regoin=us-east-1", 'has an unknown parameter "regoin"'],
  ["s3://train-us?region=a&region=b", 'has "region" twice'],
  ["s3://train-us?endpoint=10.0.0.1:9000", 'must have an http:// or https:// URL as its endpoint, not "10.0.0.1:9000"'],
  ["s3://train-us:9000", "must have its port in ?endpoint=, not after the name"],
  ["s3://A", 'must name a bucket: "A" is not a valid name'],
  ["s3:///train-us", "must name a bucket: s3://name"],
  ["gs://train-eu?region=eu", 'has an unknown parameter "region"'],
  ["gs://train-eu#x", 'must not end in a fragment ("#x")'],
])("%s is refused: %s", (url, problem) => {
  expect(parseBucketUrl(url)).toMatchObject({ service: undefined, problem });
  expect(() => openObjectStore(url)).toThrow(new UserError(`bucket ${url} ${problem}`, 2));
});

test("credentials in a URL are refused and not repeated", () => {
  const problem = "must hold no credentials: they come from the environment";
  expect(parseBucketUrl("s3://key:secret@train-us")).toEqual({ service: undefined, problem, url: "s3://train-us" });
  expect(() => openObjectStore("s3://key:secret@train-us")).not.toThrow("secret");
});
