import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openObjectStore } from "../../object-store/open.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";
import { conformance } from "./conformance.ts";
import { survivesFaults } from "./faults.ts";
import { BUCKETS, S3_ACCOUNT, s3Harness, temporaryDirectory, useS3Account } from "./harness.ts";

conformance("s3", s3Harness);
survivesFaults("s3", s3Harness);

describe("s3 with wrong credentials", () => {
  const place = temporaryDirectory();
  let endpoint = "";
  let stop = async () => {};
  beforeAll(async () => {
    ({ endpoint, stop } = await startS3Server({ directory: place.dir, buckets: BUCKETS, ...S3_ACCOUNT }));
  });
  afterAll(async () => {
    await stop();
    place.remove();
    useS3Account();
  });

  const wrong: [string, Record<string, string>, string][] = [
    ["an unknown key id", { AWS_ACCESS_KEY_ID: "AKIDNOBODY" }, "InvalidAccessKeyId"],
    ["a wrong secret", { AWS_SECRET_ACCESS_KEY: "guessed" }, "SignatureDoesNotMatch"],
  ];
  test.each(wrong)("%s is denied, in one line that names the bucket", async (_name, environment, reason) => {
    useS3Account();
    Object.assign(process.env, environment);
    const store = openObjectStore(`s3://${BUCKETS[0]}?region=us-east-1&endpoint=${endpoint}`);
    const probe = store.probe();
    await expect(probe).rejects.toMatchObject({ code: "denied" });
    await expect(probe).rejects.toThrow(`bucket ${store.url} refuses the credentials (${reason}`);
    await store.close();
  });

  test("a wrong region is denied and the right one is named", async () => {
    useS3Account();
    const store = openObjectStore(`s3://${BUCKETS[0]}?region=eu-west-1&endpoint=${endpoint}`);
    await expect(store.probe()).rejects.toThrow("expecting 'us-east-1'");
    await store.close();
  });
});
