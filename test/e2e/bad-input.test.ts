import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mountEntryAt } from "../../base/mount-table.ts";
import { ROOT_INODE } from "../../core/ids.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { isMounted, unmountLazily } from "../../sandbox/mounts.ts";
import { choosePorts } from "../../sandbox/ports.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";
import { RawClient } from "../meta-server/raw-client.ts";
import { MIRRORFS, type Ran, run, Up, until } from "./cloud.ts";

let dir: string;
let ports: number[];
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-bad-input-"));
  ports = await choosePorts(5);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Metadata servers that were started here and may be running. */
const servers = new Set<ChildProcess>();
afterAll(() => {
  for (const server of servers) server.kill("SIGKILL");
});

function startMeta(
  config: string,
  data: string,
): { process: ChildProcess; ended: Promise<number | null>; said: () => string } {
  const args = ["meta", "--config", config, "--region", "aws", "--id", "1", "--data", data];
  const server = spawn(MIRRORFS, args, { stdio: ["ignore", "ignore", "pipe"] });
  servers.add(server);
  let text = "";
  server.stderr.on("data", (data) => {
    text += data;
  });
  const ended = new Promise<number | null>((done) => server.once("close", done));
  ended.then(() => servers.delete(server));
  return { process: server, ended, said: () => text };
}

/** One line on stderr, nothing on stdout, and the exit code: what every mistake comes to. */
function said(line: string | RegExp, code: 1 | 2) {
  const stderr =
    typeof line === "string"
      ? `mirrorfs: ${line}\n`
      : expect.stringMatching(new RegExp(`^mirrorfs: ${line.source}\n$`));
  return { code, stdout: "", stderr };
}

function volumeFile(change: (text: string) => string = (text) => text): string {
  const text = `volume: trial
regions:
  aws: { meta: ["127.0.0.1:${ports[0]}"], bucket: "file://${dir}/bucket", queue: "redis://127.0.0.1:${ports[1]}" }
primary: aws
`;
  const path = join(dir, "volume.yaml");
  writeFileSync(path, change(text));
  return path;
}

/** What it logs is not for the eye: only its last words are looked at. */
async function mirrorfs(...args: string[]): Promise<Ran> {
  const ran = await run(MIRRORFS, args, { timeoutMs: 40_000 });
  return { ...ran, stderr: ran.stderr.replace(/^\{.*\}\n/gm, "") };
}

describe("a volume file that is wrong", () => {
  it("unknown key", async () => {
    const config = volumeFile((text) => text.replace("queue:", "quue:"));
    expect(await mirrorfs("status", "--config", config)).toEqual(said(`${config}: regions.aws.quue: unknown key`, 2));
  });

  it("a region or a member that it does not have", async () => {
    const config = volumeFile();
    expect(await mirrorfs("wait", "/", "--region", "azure", "--config", config)).toEqual(
      said("no region 'azure' in volume trial (regions: aws)", 2),
    );
    expect(
      await mirrorfs("meta", "--config", config, "--region", "aws", "--id", "2", "--data", join(dir, "m2")),
    ).toEqual(
      said("region aws has no metadata server 2: give --id 1 to 1, or append its address to regions.aws.meta", 2),
    );
  });
});

describe("a bucket that cannot be used", () => {
  let server: Awaited<ReturnType<typeof startS3Server>>;
  const account = { accessKeyId: "AKIATRIAL", secretAccessKey: "trial-secret", region: "us-east-1" };
  beforeAll(async () => {
    server = await startS3Server({ ...account, directory: join(dir, "s3"), buckets: ["there"] });
  });
  afterAll(() => server.stop());

  async function agentOn(bucket: string, secret = account.secretAccessKey): Promise<Ran> {
    const config = volumeFile((text) => text.replace(`file://${dir}/bucket`, bucket));
    const env = {
      AWS_ACCESS_KEY_ID: account.accessKeyId,
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_EC2_METADATA_DISABLED: "true",
    };
    return await run(MIRRORFS, ["agent", "--config", config, "--region", "aws", "--log-level", "silent"], { env });
  }

  it("is not there", async () => {
    const bucket = `s3://missing?endpoint=${server.endpoint}`;
    expect(await agentOn(bucket)).toEqual(
      said(
        /bucket s3:\/\/missing\S* does not exist \(.*NoSuchBucket.*\): create it, or correct "bucket" in the volume file/,
        1,
      ),
    );
  });

  it("is out of reach", async () => {
    const bucket = `s3://there?endpoint=http://127.0.0.1:${ports[2]}`;
    expect(await agentOn(bucket)).toMatchObject(
      said(
        /bucket s3:\/\/there\S* cannot be reached \(.*\): check its endpoint in the volume file, and the network/,
        1,
      ),
    );
  });

  it("refuses the credentials", async () => {
    const bucket = `s3://there?endpoint=${server.endpoint}`;
    expect(await agentOn(bucket, "wrong")).toMatchObject(
      said(
        /bucket s3:\/\/there\S* refuses the credentials \(.*\): check AWS_ACCESS_KEY_ID.*, the region, and the bucket's policy/,
        1,
      ),
    );
  });
});

describe("a metadata server that cannot start", () => {
  const meta = (config: string, data: string, ...more: string[]) =>
    mirrorfs(
      "meta",
      "--config",
      config,
      "--region",
      "aws",
      "--id",
      "1",
      "--data",
      data,
      "--log-level",
      "silent",
      ...more,
    );

  it("its port is in use", async () => {
    const server: Server = createServer();
    await new Promise<void>((done) => server.listen(ports[0], "127.0.0.1", done));
    expect(await meta(volumeFile(), join(dir, "port"))).toEqual(
      said(
        `cannot listen on 127.0.0.1:${ports[0]}: the port is in use: stop the process that uses it, or choose another port`,
        1,
      ),
    );
    await new Promise((done) => server.close(done));
  });

  it("its data directory is another volume's, or another member's: refused, and nothing in it changed", async () => {
    const data = join(dir, "data");
    const config = volumeFile();
    const isUp = async () => (await mirrorfs("status", "--config", config)).code === 0;
    const first = startMeta(config, data);
    await until("it runs", isUp);
    first.process.kill("SIGTERM");
    expect(await first.ended).toBe(0);
    const other = volumeFile((text) => text.replace("volume: trial", "volume: other"));
    expect(await meta(other, data)).toEqual(
      said(`${data} holds the data of volume trial, not of other: choose another directory`, 2),
    );
    const three = `meta: [${[ports[0], ports[3], ports[4]].map((port) => `"127.0.0.1:${port}"`).join(", ")}]`;
    const larger = volumeFile((text) => text.replace(/meta: \[.*?\]/, three));
    const second = [
      "meta",
      "--config",
      larger,
      "--region",
      "aws",
      "--id",
      "2",
      "--data",
      data,
      "--log-level",
      "silent",
    ];
    expect(await mirrorfs(...second)).toEqual(
      said(`${data} holds the data of member 1, not of 2: choose another directory`, 2),
    );
    // Its owner starts on it as before.
    const again = startMeta(volumeFile(), data);
    await until("it runs again", isUp);
    again.process.kill("SIGTERM");
    expect(await again.ended).toBe(0);
  }, 60_000);
});

describe("a full disk under the metadata server", () => {
  const disk = () => join(dir, "disk");
  beforeAll(async () => {
    mkdirSync(disk());
    expect((await run("mount", ["-t", "tmpfs", "-o", "size=10m", "tmpfs", disk()])).code).toBe(0);
  });
  afterAll(() => unmountLazily(disk()));

  it("stops it with one line; with room again it goes on, and has all that it acknowledged", async () => {
    const config = volumeFile();
    const server = startMeta(config, join(disk(), "m1"));
    const client = await connect();
    // Without a session nothing is acknowledged, and what was asked fills the log all the same.
    expect((await client.open()).status).toBe(Status.OK);
    const acknowledged = await makeUntilItEnds(client);
    expect(await server.ended).toBe(1);
    expect(acknowledged.length).toBeGreaterThan(0);
    const lines = server
      .said()
      .split("\n")
      .filter((line) => line.startsWith("mirrorfs: "));
    expect(lines).toEqual([
      expect.stringMatching(/^mirrorfs: metadata server aws\/1 stopped: .*No space left on device$/),
    ]);

    expect((await run("mount", ["-o", "remount,size=200m", disk()])).code).toBe(0);
    const again = startMeta(config, join(disk(), "m1"));
    const reader = await connect();
    const found = await Promise.all(acknowledged.map((name) => reader.lookup(ROOT_INODE, name)));
    expect(found.filter((it) => typeof it === "string")).toEqual([]);
    reader.close();
    again.process.kill("SIGTERM");
    expect(await again.ended).toBe(0);
  }, 240_000);

  /**
   * A stream to the server, as soon as it serves the volume: before, it ends each, or greets with no uuid, for a leader has a
   * moment before it has made the volume.
   */
  async function connect(): Promise<RawClient> {
    for (let i = 0; i < 100; i++) {
      const client = new RawClient(`127.0.0.1:${ports[0]}`, { volume: "trial" });
      const welcome = await Promise.race([client.welcome, delay(500, undefined)]);
      if (welcome !== undefined && welcome.uuid !== "") return client;
      client.close();
      await delay(100);
    }
    throw new Error("it does not serve");
  }

  /** Creates files with the longest names until the server ends. @returns the names that it acknowledged. */
  async function makeUntilItEnds(client: RawClient): Promise<string[]> {
    const acknowledged: string[] = [];
    for (let i = 0; !client.ended && i < 200_000; i += 64) {
      const names = Array.from({ length: 64 }, (_, j) => `${i + j}-`.padEnd(255, "x"));
      const made = await Promise.all(
        names.map((name) =>
          client.make(ROOT_INODE, name).then(
            () => true,
            () => false,
          ),
        ),
      );
      acknowledged.push(...names.filter((_, j) => made[j]));
    }
    client.close();
    return acknowledged;
  }
});

describe("on a volume that runs", () => {
  let up: Up;
  beforeAll(async () => {
    up = await Up.start("--replicas", "1");
  }, 120_000);
  afterAll(async () => {
    unmountLazily(join(dir, "mount"));
    await up?.end();
  }, 60_000);

  /** With the region's own file and credentials, as the sandbox's processes have them. */
  async function mount(target: string, ...more: string[]): Promise<Ran> {
    const environ = readFileSync(`/proc/${up.pidOf("aws-mount")}/environ`, "utf8").split("\0");
    const env = Object.fromEntries(
      environ.filter((it) => /^(AWS|GOOGLE|MIRRORFS)_/.test(it)).map((it) => it.split(/=(.*)/s, 2)),
    );
    return await run(MIRRORFS, ["mount", target, "--region", "aws", "--log-file", join(dir, "mount.log"), ...more], {
      env,
    });
  }

  it("the mount point does not exist", async () => {
    const none = join(dir, "none");
    expect(await mount(none)).toEqual(said(`mount point ${none} does not exist: make it with mkdir -p ${none}`, 1));
  });

  it("the mount point is not empty", async () => {
    mkdirSync(join(dir, "full"));
    writeFileSync(join(dir, "full", "file"), "kept");
    expect(await mount(join(dir, "full"))).toEqual(
      said(`mount point ${join(dir, "full")} is not empty: choose an empty directory`, 1),
    );
    expect(readFileSync(join(dir, "full", "file"), "utf8")).toBe("kept");
  });

  it("an unknown mount option", async () => {
    mkdirSync(join(dir, "mount"));
    expect(await mount(join(dir, "mount"), "-o", "consistncy=session")).toEqual(
      said('unknown mount option "consistncy"', 2),
    );
  });

  it("a dead mount is cleaned up and used again", async () => {
    const target = join(dir, "mount");
    const log = join(dir, "mount.log");
    expect(await mount(target)).toMatchObject({ code: 0, stderr: "" });
    const pid = Number(/"pid":(\d+)/.exec(readFileSync(log, "utf8").trim().split("\n").at(-1)!)![1]);
    process.kill(pid, "SIGKILL");
    await until("the mount is dead", async () => (await run("ls", [target])).stderr.includes("not connected"));
    expect(await mount(target)).toMatchObject({ code: 0, stderr: "" });
    expect((await run("ls", [target])).code).toBe(0);
    expect(await mirrorfs("umount", target)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(isMounted(target)).toBe(false);
  }, 60_000);

  it("info and wait of a path in a mount use the mount's volume file (defect 28)", async () => {
    const target = join(dir, "mount");
    mkdirSync(target, { recursive: true });
    expect(await mount(target)).toMatchObject({ code: 0, stderr: "" });
    writeFileSync(join(target, "file"), "text");
    expect(await mirrorfs("info", join(target, "file"))).toMatchObject({ code: 0, stderr: "" });
    expect(await mirrorfs("wait", join(target, "file"), "--region", "gcp")).toMatchObject({ code: 0, stderr: "" });
    expect(await mirrorfs("info", "/file")).toEqual(
      said("no volume file: give --config FILE, or set MIRRORFS_CONFIG", 2),
    );
    const device = mountEntryAt(target)!.device;
    expect(statSync(join("/run/mirrorfs", device)).mode & 0o777).toBe(0o600);
    expect(await mirrorfs("umount", target)).toMatchObject({ code: 0 });
    await until("the record of the mount to be gone", () => !existsSync(join("/run/mirrorfs", device)));
  }, 60_000);

  it("promote without --force while the primary lives", async () => {
    expect(await up.mirrorfs("promote", "--region", "gcp")).toEqual(
      said("the primary aws is alive: use 'mirrorfs switchover --to gcp', which loses nothing", 1),
    );
  });

  it("switchover to the primary itself", async () => {
    expect(await up.mirrorfs("switchover", "--to", "aws")).toEqual(said("aws is the primary already", 1));
    expect((await up.status()).epoch).toBe(1);
  });

  it("umount of what is no mount", async () => {
    expect(await mirrorfs("umount", dir)).toEqual(said(`${dir}: no mirrorfs is mounted there`, 1));
  });

  it("a second up in the same directory", async () => {
    expect(await run(MIRRORFS, ["up", "--dir", up.dir])).toEqual(
      said(new RegExp(`${up.dir}/run: process \\d+ runs a sandbox there: end it first, or choose another --dir`), 1),
    );
    expect((await up.status()).regions.aws!.reachable).toBe(true);
  });
});
