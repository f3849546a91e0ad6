import { Server } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { promoteByForce } from "../../admin/promotion.ts";
import type { VolumeDescription } from "../../config/volume-description.ts";
import { serverCredentials } from "../../proto/credentials.ts";
import {
  AdminAnswer,
  AdminService,
  ConfirmAnswer,
  type EndRequest,
  PromoteAnswer,
  type PromoteRequest,
  RegionStatus,
} from "../../proto/generated/admin.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.forceShutdown();
});

interface Call<Q> {
  readonly request: Q;
}
type Done<A> = (error: null, answer: A) => void;

async function listen(handlers: object): Promise<string> {
  const server = new Server();
  servers.push(server);
  server.addService(AdminService, handlers as never);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", serverCredentials(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return `127.0.0.1:${port}`;
}

/** aws is alive, and gcp does not reach it. `ends`: whether aws ends its epoch when it is asked to. */
async function twoRegions(ends: boolean) {
  let isFenced = false;
  const ended: EndRequest[] = [];
  const asked: PromoteRequest[] = [];
  const statusOf = (region: string) => (_: unknown, done: Done<RegionStatus>) =>
    done(null, RegionStatus.fromPartial({ region, member: 1, isLeader: true, version: { epoch: 16, sequence: 9 } }));
  const confirmOf = (region: string) => (_: unknown, done: Done<ConfirmAnswer>) => {
    const state = region === "gcp" ? "mirror" : isFenced ? "fenced" : "primary";
    done(null, ConfirmAnswer.fromPartial({ region, uuid: "u", state, version: { epoch: 16, sequence: 9 } }));
  };
  const aws = await listen({
    status: statusOf("aws"),
    confirm: confirmOf("aws"),
    end({ request }: Call<EndRequest>, done: Done<AdminAnswer>) {
      ended.push(request);
      isFenced = ends;
      done(null, AdminAnswer.fromPartial({ ok: ends, message: ends ? "" : "no majority" }));
    },
  });
  const gcp = await listen({
    status: statusOf("gcp"),
    confirm: confirmOf("gcp"),
    promote({ request }: Call<PromoteRequest>, done: Done<PromoteAnswer>) {
      asked.push(request);
      const isAlive = request.confirmed.some(({ region, state }) => region === "aws" && state === "primary");
      done(null, PromoteAnswer.fromPartial(isAlive ? { ok: false, toEnd: ["aws"], epoch: 257 } : { ok: true }));
    },
  });
  const describe = (name: string, address: string) => ({ name, meta: [address] });
  const regions = new Map([
    ["aws", describe("aws", aws)],
    ["gcp", describe("gcp", gcp)],
  ]);
  const volume = { volume: "v", regions, primary: "aws" } as unknown as VolumeDescription;
  return { volume, region: volume.regions.get("gcp")!, ended, asked };
}

const EVEN_IF_ALIVE = { evenIfAlive: true, discard: ["aws"] };

test("a primary that only the command line reaches is ended from there, and then the region is promoted", async () => {
  const { volume, region, ended, asked } = await twoRegions(true);
  expect(await promoteByForce(volume, region, EVEN_IF_ALIVE)).toMatchObject({ ok: true });
  expect(ended).toEqual([{ volume: "v", uuid: "u", region: "gcp", epoch: 257 }]);
  expect(asked).toHaveLength(2);
  expect(asked[0]).toMatchObject({ force: true, evenIfAlive: true, discard: ["aws"] });
  expect(asked[0]!.applied, "what each member has applied goes with the request").toEqual(
    ["aws", "gcp"].map((name) => ({ region: name, member: 1, version: { epoch: 16, sequence: 9 } })),
  );
});

test("nothing is promoted beside a primary that could not be ended from there", async () => {
  const { volume, region, asked } = await twoRegions(false);
  await expect(promoteByForce(volume, region, EVEN_IF_ALIVE)).rejects.toThrow(
    "gcp was not promoted: aws could not be ended: no majority",
  );
  expect(asked).toHaveLength(1);
});
