import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { ClientSession } from "../../../../client/volume/metadata/client-session.ts";
import { Router } from "../../../../client/volume/metadata/router.ts";
import { decodeCommand, encodeOutcome } from "../../../../core/codec.ts";
import type { Outcome } from "../../../../core/commands.ts";
import { type Inode, type RegionIndex, ROOT_INODE } from "../../../../core/ids.ts";
import { REQUEST_WINDOW_MAX } from "../../../../core/requests.ts";
import { type Mutate, type Request, type Response, Status } from "../../../../proto/generated/metadata.ts";
import { type Script, ScriptedServer } from "../../support/scripted-server.ts";

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const done: Outcome = { ok: true };
const outcome = Buffer.from(encodeOutcome(done));
const command = { kind: "rmdir", parent: ROOT_INODE, name: "x" as never } as const;

function mutation(request: Request): Mutate | undefined {
  return request.body?.$case === "mutate" ? request.body.value : undefined;
}

function opens(request: Request): boolean {
  const mutate = mutation(request);
  return mutate !== undefined && decodeCommand(mutate.command).kind === "openSession";
}

async function servers(scripts: { aws: Script; gcp?: Script }) {
  const aws = await new ScriptedServer("aws", "aws", scripts.aws).start();
  const gcp = await new ScriptedServer(
    "gcp",
    "aws",
    scripts.gcp ?? (() => ({ status: Status.NOT_PRIMARY, primary: "aws" })),
  ).start();
  stops.push(
    () => aws.stop(),
    () => gcp.stop(),
  );
  return { aws, gcp };
}

function client(
  all: { aws: ScriptedServer; gcp: ScriptedServer },
  region = "aws",
  options: { onPrimaryLoss?: "serve" | "fail"; writeTimeoutMs?: number } = {},
) {
  const lost: string[] = [];
  const regions = new Map(
    [all.aws, all.gcp].map(({ region: name, address }) => [name, { name, meta: [address], bucket: "", queue: "" }]),
  );
  const volume = {
    volume: "v",
    regions,
    primary: "aws",
    changelog: { retainHours: 1, retainGib: 1 },
    startAlone: "serve" as const,
    startAloneWaitMs: 0,
    gc: { graceMs: 0 },
  };
  const router: Router = new Router(
    {
      volume,
      region,
      consistency: "close-to-open",
      maxStalenessMs: 0,
      onPrimaryLoss: options.onPrimaryLoss ?? "serve",
      readTimeoutMs: 3000,
      logger: pino({ level: "silent" }),
      hello: (seen, uuid) => ({ volume: "v", region, client: "c", session: session.id, seen, uuid, open: [] }),
    },
    { onInvalidations: () => lost.push("invalidated"), onCachesLost: (reason) => lost.push(reason) },
  );
  const session: ClientSession = new ClientSession({
    router,
    logger: pino({ level: "silent" }),
    client: "c",
    region: () => 0 as RegionIndex,
    writeTimeoutMs: options.writeTimeoutMs ?? 4000,
    onLost: () => lost.push("session"),
  });
  stops.push(() => router.close());
  return { router, session, lost };
}

test("a change whose answer was lost is sent again under the same number", async () => {
  let cut = 2;
  const all = await servers({
    aws: (request) => (!opens(request) && cut-- > 0 ? "hang up" : { status: Status.OK, outcome }),
  });
  const { session } = client(all);
  expect(await session.mutate(command)).toMatchObject({ outcome: done });
  const sent = all.aws.requests.filter((request) => !opens(request)).map((request) => mutation(request)!);
  expect(sent.length).toBe(3);
  expect(new Set(sent.map(({ request }) => request)).size).toBe(1);
  expect(new Set(sent.map((each) => each.command.toString("hex"))).size).toBe(1);
});

test("the low-water mark is the first request that has no answer yet", async () => {
  const held: Request[] = [];
  const all = await servers({
    aws: (request) => {
      if (mutation(request)?.request !== 1) return { status: Status.OK, outcome };
      held.push(request);
      return held.length === 1 ? "silence" : { status: Status.OK, outcome };
    },
  });
  const { session } = client(all);
  await session.open();
  const slow = session.mutate(command);
  for (let count = 0; count < 3; count++) await session.mutate(command);
  expect(mutation(all.aws.requests.at(-1)!)).toMatchObject({ request: 4, lowWater: 1 });
  all.aws.hangUp();
  await slow;
  await session.mutate(command);
  expect(mutation(all.aws.requests.at(-1)!)).toMatchObject({ request: 5, lowWater: 5 });
});

/** Answers as the servers do: a number beyond the window is EINVAL. */
function inWindow(request: Request): Partial<Response> {
  const mutate = mutation(request);
  const isBeyond = mutate !== undefined && mutate.request >= mutate.lowWater + REQUEST_WINDOW_MAX;
  return isBeyond ? { status: Status.FAILED, error: "EINVAL" } : { status: Status.OK, outcome };
}

test("a change whose blocks are being uploaded holds no number: others go on for as long as it takes (defect 1)", async () => {
  const all = await servers({ aws: inWindow });
  const { session } = client(all);
  const uploaded = Promise.withResolvers<typeof command>();
  const slow = session.mutate(() => uploaded.promise);
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(Array.from({ length: 1500 }, () => session.mutate(command)));
    expect(answers.filter((answer) => typeof answer === "string")).toEqual([]);
  }
  uploaded.resolve(command);
  expect(await slow).toMatchObject({ outcome: done });
});

test("at the end of the window changes wait for the first answer, and none is refused (defect 1)", async () => {
  const held: Request[] = [];
  const all = await servers({
    aws: (request) => {
      if (mutation(request)?.request === 1 && held.push(request) === 1) return "silence";
      return inWindow(request);
    },
  });
  const { session } = client(all, "aws", { writeTimeoutMs: 50_000 });
  const first = session.mutate(command);
  const answers = Promise.all(Array.from({ length: 2 * REQUEST_WINDOW_MAX }, () => session.mutate(command)));
  const numbers = () => Math.max(...all.aws.requests.map((request) => mutation(request)?.request ?? 0));
  await expect.poll(numbers, { timeout: 40_000 }).toBeGreaterThan(4000);
  all.aws.hangUp();
  expect(await first).toMatchObject({ outcome: done });
  expect((await answers).filter((answer) => typeof answer === "string")).toEqual([]);
  expect(numbers()).toBe(2 * REQUEST_WINDOW_MAX + 1);
});

test("a change that gets no number within writeTimeoutMs is EIO; a grant of slice ids still gets one (defect 1)", async () => {
  const all = await servers({ aws: (request) => (mutation(request)?.request === 1 ? "silence" : inWindow(request)) });
  const { session } = client(all);
  // The first one has no deadline: the window does not move, however long the others take.
  void session.mutate(command, { wait: true });
  for (let batch = 0; batch < 8; batch++) {
    await Promise.all(Array.from({ length: 500 }, () => session.mutate(command)));
  }
  const last = await Promise.all(Array.from({ length: 200 }, () => session.mutate(command)));
  expect(last.filter((answer) => answer === "EIO").length).toBeGreaterThan(100);
  expect(await session.mutate({ kind: "grantSlices", count: 1 })).toMatchObject({ outcome: done });
});

test("changes follow the primary to another region, without a new session", async () => {
  const all = await servers({ aws: () => ({ status: Status.OK, outcome }) });
  const { session, router, lost } = client(all);
  await session.mutate(command);
  const { id } = session;
  all.aws.script = () => ({ status: Status.NOT_PRIMARY, primary: "" });
  all.gcp.script = () => ({ status: Status.OK, outcome });
  for (const server of [all.aws, all.gcp]) Object.assign(server, { epoch: 33, epochRegion: "gcp" });
  expect(await session.mutate(command)).toMatchObject({ outcome: done });
  expect([router.primary, session.id]).toEqual(["gcp", id]);
  expect(lost).toContain("epoch");
});

test("after the session has expired another is opened, and the change is carried out in that one", async () => {
  let known = true;
  const all = await servers({
    aws: (request) => {
      if (opens(request)) known = true;
      return known ? { status: Status.OK, outcome } : { status: Status.NO_SESSION };
    },
  });
  const { session, lost } = client(all);
  await session.mutate(command);
  const { id } = session;
  known = false;
  expect(await session.mutate(command)).toMatchObject({ outcome: done });
  expect(session.id).not.toBe(id);
  expect(lost).toContain("session");
  expect(all.aws.hellos.at(-1)!.session).toBe(session.id);
});

test("a request is retried with back-off while the server is busy", async () => {
  let busy = 3;
  const all = await servers({
    aws: (request) => (!opens(request) && busy-- > 0 ? { status: Status.BUSY } : { status: Status.OK, outcome }),
  });
  expect(await client(all).session.mutate(command)).toMatchObject({ outcome: done });
  expect(all.aws.requests.filter((request) => !opens(request)).length).toBe(4);
});

test("no primary for longer than writeTimeoutMs is EIO", async () => {
  const all = await servers({ aws: () => ({ status: Status.NOT_PRIMARY, primary: "" }) });
  const startMs = performance.now();
  expect(await client(all).session.mutate(command)).toBe("EIO");
  expect(performance.now() - startMs).toBeGreaterThan(3000);
});

test("a read that finds the mirror behind goes to the primary", async () => {
  const error = "ENOENT";
  const all = await servers({ aws: () => ({ status: Status.FAILED, error }), gcp: () => ({ status: Status.BEHIND }) });
  const { router } = client(all, "gcp");
  const answer = await router.read(
    { $case: "getAttributes", value: { inode: 9 as Inode } },
    { freshness: "committed" },
  );
  expect(answer).toMatchObject({ status: Status.FAILED, error });
  expect([all.gcp.requests.length, all.aws.requests.length]).toEqual([1, 1]);
});

test("a mirror that cannot reach the primary serves reads with onPrimaryLoss=serve; with fail they are EIO", async () => {
  const answer = { status: Status.OK, primaryUnreachable: true };
  const all = await servers({ aws: () => "silence", gcp: () => answer });
  const body = { $case: "getAttributes", value: { inode: 9 } } as const;
  const serving = client(all, "gcp").router;
  expect(await serving.read(body, { freshness: "committed" })).toMatchObject(answer);
  const strict = client(all, "gcp", { onPrimaryLoss: "fail" }).router;
  expect(await strict.read(body, { freshness: "committed" })).toBe("EIO");
  expect(await strict.read(body, { freshness: "token" })).toMatchObject(answer);
});

test("the loss of the own region's stream invalidates all caches", async () => {
  const all = await servers({ aws: () => ({ status: Status.OK }) });
  const { router, lost } = client(all);
  await router.read({ $case: "statFs", value: {} }, { freshness: "token" });
  expect(router.watched).toBe(true);
  all.aws.push({ invalidations: [{ inode: 5, parent: 0, name: Buffer.alloc(0), content: true }] });
  await expect.poll(() => lost).toEqual(["invalidated"]);
  all.aws.hangUp();
  await expect.poll(() => lost).toEqual(["invalidated", "stream"]);
});
