import fs from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "../../rules/source-files.ts";
import { canMount, clean, ok, type Server, serve, temporaryDirectory } from "./harness.ts";

const SOURCE = path.join(ROOT, "node_modules/typescript");
const settings = [
  ["answers at once, nothing cached", {}],
  ["answers later, cached for a minute", { memory: { validMs: 60_000, delayMs: 0, keepCache: true } }],
  ["the thread pool's engine", { fuse: { engine: "pool" as const }, memory: { validMs: 1000 } }],
] as const;

describe.skipIf(!canMount).each(settings)(
  "real programs on a mount (needs root and /dev/fuse): %s",
  (_name, options) => {
    let server: Server;
    let local: string;
    beforeAll(async () => {
      server = await serve(await temporaryDirectory(), options);
      local = await temporaryDirectory();
    });
    afterAll(async () => {
      await clean(server);
      await fs.rm(local, { recursive: true });
    });
    const at = (name: string) => path.join(server.directory, name);

    test("cp -a and diff -r: the copy of a tree is equal to it", async () => {
      await ok(["cp", "-a", SOURCE, at("tree")]);
      await ok(["diff", "-r", SOURCE, at("tree")]);
      const list = (of: string) => ok(["find", ".", "-printf", "%p %y %m %U %G %s %T@ %l\\n"], { cwd: of });
      const sorted = (text: string) =>
        text
          .split("\n")
          .filter((line) => !line.includes(" d "))
          .sort();
      expect(sorted(await list(at("tree")))).toEqual(sorted(await list(SOURCE)));
      await ok(["rm", "-r", at("tree")]);
      await expect(fs.stat(at("tree"))).rejects.toThrow("ENOENT");
    });

    test("git: init, commit, fsck, clone", async () => {
      const script = `set -e
      git init -q repo && cd repo && git config user.email a@b.c && git config user.name n
      for i in $(seq 60); do mkdir -p d$i && echo $i > d$i/f; done
      git add . && git commit -qm one && git mv d1 e1 && git commit -qam two && git gc -q
      git fsck --full --strict && git status --porcelain && cd .. && git clone -q repo copy && diff -r repo/e1 copy/e1`;
      await ok(["sh", "-c", script], { cwd: server.directory });
    });

    test("tar: links, modes and times in and out", async () => {
      const script = `set -e
      mkdir "$1/t" && cd "$1/t" && echo a > f && ln f hard && ln -s f soft && chmod 4755 f && mkfifo p && touch -d 1950-02-03T04:05:06.123456789 f
      tar -C "$1" --format=pax -cf "$2/x.tar" t && mkdir "$1/out" && tar -C "$1/out" -xpf "$2/x.tar" && tar -C "$1/out" -df "$2/x.tar"
      test "$1/out/t/f" -ef "$1/out/t/hard" && test "$(readlink "$1/out/t/soft")" = f && stat -c "%a %h %y" "$1/out/t/f"`;
      const out = await ok(["sh", "-c", script, "sh", server.directory, local], { env: { TZ: "UTC" } });
      expect(out.trim()).toBe("4755 2 1950-02-03 04:05:06.123456789 +0000");
    });

    test("sqlite3: transactions from two processes, rollback journal and WAL", async () => {
      const script = `set -e
      sqlite3 "$1/a.db" 'create table t(a)'
      for w in 1 2; do (for i in $(seq 25); do sqlite3 -cmd '.timeout 20000' "$1/a.db" "insert into t values($w)"; done) & done; wait
      sqlite3 "$1/a.db" 'pragma integrity_check; select count(*) from t'`;
      expect(await ok(["sh", "-c", script, "sh", server.directory])).toBe("ok\n50\n");
    });

    test("rsync: a second run finds nothing to do", async () => {
      const source = path.join(SOURCE, "lib");
      await ok(["rsync", "-aHAX", `${source}/`, at("rsync/")]);
      expect(await ok(["rsync", "-aHAXi", "--checksum", `${source}/`, at("rsync/")])).toBe("");
      await ok(["rm", "-r", at("rsync")]);
    });

    test("fio: what was written at random is what is read, buffered and direct", async () => {
      for (const direct of ["0", "1"]) {
        const job = ["--name=v", `--filename=${at(`fio${direct}`)}`, "--rw=randwrite", "--bs=4k-256k", "--size=24M"];
        const how = ["--ioengine=libaio", "--iodepth=8", `--direct=${direct}`, "--verify=crc32c", "--do_verify=1"];
        await ok(["fio", ...job, ...how, "--verify_fatal=1", "--verify_state_save=0"]);
      }
    });

    test("many readers at once see the same bytes", async () => {
      await ok(["sh", "-c", `head -c 20000000 /dev/urandom > "$1"`, "sh", at("shared")]);
      const sums = await Promise.all(
        Array.from({ length: 16 }, () => ok(["sh", "-c", `md5sum < "$1"`, "sh", at("shared")])),
      );
      expect(new Set(sums).size).toBe(1);
    });
  },
);
