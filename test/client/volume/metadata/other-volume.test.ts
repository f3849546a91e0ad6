import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { Router } from "../../../../client/volume/metadata/router.ts";
import { Freshness, type Hello, Status } from "../../../../proto/generated/metadata.ts";
import { TestVolume } from "../../../meta-server/harness.ts";

const closing: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one.close();
});

/** A volume of one region, all of the same name. */
async function volumeOf(region: string): Promise<TestVolume> {
  const volume = await TestVolume.create({ [region]: 1 });
  closing.push(volume);
  await volume.start(region);
  await volume.leader(region, ({ role }) => role === "primary");
  return volume;
}

test("a client refuses the servers of another volume of the same name, and tells every server which one it has mounted", async () => {
  const mounted = await volumeOf("aws");
  const other = await volumeOf("gcp");
  const { uuid } = await mounted.leader("aws");
  const hellos: Hello[] = [];
  const router = new Router(
    {
      volume: { ...mounted.volume, regions: new Map([...mounted.volume.regions, ...other.volume.regions]) },
      region: "aws",
      consistency: "session",
      maxStalenessMs: 0,
      onPrimaryLoss: "serve",
      readTimeoutMs: 3_000,
      logger: pino({ level: "silent" }),
      hello(seen, known) {
        const hello = { volume: "test", region: "aws", client: "c", session: 1, seen, uuid: known, open: [] };
        hellos.push(hello);
        return hello;
      },
    },
    { onInvalidations() {}, onCachesLost() {} },
  );
  closing.push(router);
  const root = { $case: "getAttributes", value: { inode: 1 } } as const;
  const limits = { freshness: Freshness.TOKEN, atLeast: undefined, findMs: 1_000, answerMs: 1_000 };
  expect(await router.group("aws").ask(root, limits)).toMatchObject({ status: Status.OK });
  expect(await router.group("gcp").ask(root, limits)).toBe("unreachable");
  await router.findPrimary();
  expect(router.primary).toBe("aws");
  expect(hellos[0]!.uuid, "before the first welcome").toBe("");
  expect(hellos.length).toBeGreaterThan(1);
  for (const hello of hellos.slice(1)) expect(hello.uuid).toBe(uuid);
});
