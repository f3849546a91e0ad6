import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isMounted, unmountLazily } from "../../sandbox/mounts.ts";
import { choosePort } from "../../sandbox/ports.ts";
import { AIO } from "../client/fuse/aio.ts";
import { run } from "./cloud.ts";

/** A real mount of a volume with one metadata server and a directory as bucket, served by a child process. */
const SERVE = resolve(import.meta.dirname, "../client/support/serve-mount.ts");
const SET_USER_ID = resolve(import.meta.dirname, "set-user-id.py");
const TREE = resolve(import.meta.dirname, "../../node_modules/zod");
const REPOSITORY = resolve(import.meta.dirname, "../..");
const canMount = process.getuid?.() === 0 && existsSync("/dev/fuse");

let dir: string;
let mnt: string;
let child: ChildProcess;

beforeAll(async () => {
  if (!canMount) return;
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-mount-"));
  mnt = join(dir, "mnt");
  mkdirSync(mnt);
  child = spawn(process.execPath, [SERVE, dir, String(await choosePort()), mnt], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await new Promise<void>((ready, failed) => {
    child.stdout!.once("data", () => ready());
    child.once("exit", (code) => failed(new Error(`the mount's process ended (${code})`)));
  });
});

afterAll(async () => {
  if (!canMount) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.stdin!.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const code = await ended;
  clearTimeout(timer);
  const left = await isMounted(mnt);
  if (left) await unmountLazily(mnt);
  rmSync(dir, { recursive: true, force: true });
  expect([code, left]).toEqual([0, false]);
});

/** Runs a script in the mount. @returns its stdout. @throws Error with its output when it fails. */
async function sh(script: string, timeoutMs = 55_000): Promise<string> {
  const env = { M: mnt, L: dir, LC_ALL: "C", TZ: "UTC" };
  const { code, stdout, stderr } = await run("bash", ["-euc", `cd "$M"; ${script}`], { timeoutMs, env });
  if (code !== 0) throw new Error(`exit ${code}: ${stderr}${stdout}`);
  return stdout.trim();
}

const mounted = test.skipIf(!canMount);

mounted("a tree copied with cp -a has every path, type, mode, owner, size, mtime (ns), target and byte", async () => {
  await sh(`cp -a ${TREE} tree; diff -r --no-dereference ${TREE} tree`);
  const list = (of: string) =>
    sh(`cd ${of}; (find . -printf '%p %y %m %U %G %T@ %l\\n'; find . -type f -printf '%p %s\\n') | sort`);
  expect(await list(join(mnt, "tree"))).toBe(await list(TREE));
});

mounted("a reader sees what an asynchronous direct write left, whatever it read meanwhile (defect 29)", async () => {
  const program = `${AIO}
SIZE = 1 << 20
fd = os.open("direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
os.ftruncate(fd, SIZE)
buffered = os.open("direct", os.O_RDONLY)
reader = os.fork()
if reader == 0:
  while True: os.pread(buffered, 1, SIZE - 4096)
try:
  stale = 0
  for round in range(400):
    byte = bytes([round % 251 + 1])
    submit(fd, byte * SIZE, 0)
    assert finish() == SIZE
    stale += os.pread(buffered, 1, SIZE - 4096) != byte
    kept.clear()
finally:
  os.kill(reader, 9)
  os.waitpid(reader, 0)
print(stale)`;
  writeFileSync(join(dir, "aio.py"), program);
  expect(await sh(`python3 "$L/aio.py"`)).toBe("0");
});

mounted(
  "open_by_handle_at opens a file without its name, and answers ESTALE once it is unlinked (defect 30)",
  async () => {
    const program = `
import ctypes, errno, os, struct
libc = ctypes.CDLL(None, use_errno=True)
here = os.open(".", os.O_RDONLY)
open("handled", "w").write("by handle")
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
assert libc.name_to_handle_at(-100, b"handled", handle, ctypes.byref(ctypes.c_int()), 0) == 0, ctypes.get_errno()
def opened():
  # The kernel forgets the inode, as a server that restarts would.
  open("/proc/sys/vm/drop_caches", "w").write("2")
  fd = libc.open_by_handle_at(here, handle, os.O_RDONLY)
  if fd < 0: return errno.errorcode[ctypes.get_errno()]
  with os.fdopen(fd) as file: return file.read()
print(opened())
os.unlink("handled")
print(opened(), opened())`;
    writeFileSync(join(dir, "handle.py"), program);
    expect(await sh(`python3 "$L/handle.py"`)).toBe("by handle\nESTALE ESTALE");
  },
);

mounted("git clone of a repository passes fsck, and its work tree is clean", async () => {
  await sh(
    `git clone -q ${REPOSITORY} repo; git -C repo fsck --full --strict; test -z "$(git -C repo status --porcelain)"`,
  );
});

mounted("sqlite3 keeps a database whole, in both journal modes", async () => {
  const script = `create table t(a integer primary key, b text);
    with recursive n(i) as (select 1 union all select i+1 from n where i<20000) insert into t select i, hex(i) from n;
    delete from t where a % 3 = 0; update t set b = b || b where a % 5 = 0; vacuum; pragma integrity_check; select count(*) from t;`;
  for (const mode of ["delete", "truncate"]) {
    expect(await sh(`sqlite3 ${mode}.db "pragma journal_mode=${mode}; ${script.replaceAll("\n", " ")}"`)).toBe(
      `${mode}\nok\n13334`,
    );
  }
});

mounted("truncate, append, overwrite and sparse files behave as on a local file system", async () => {
  await sh(`
    play() { (
      cd "$1"
      head -c 300000 /dev/zero | tr '\\0' a > f; truncate -s 100000 f; echo tail >> f; truncate -s 200000 f
      printf XYZ | dd of=f bs=1 seek=50000 conv=notrunc status=none
      truncate -s 200M sparse; printf end | dd of=sparse bs=1 seek=150000000 conv=notrunc status=none
      fallocate -p -o 40000 -l 20000 f; cat f f > g; : > empty; echo new > g; seq 100000 > lines; sed -i s/7/seven/ lines
    ) }
    mkdir "$L/plain" files; play "$L/plain"; play "$M/files"
    for f in f g sparse empty lines; do cmp "$L/plain/$f" "files/$f"; done`);
  const stat = (of: string) => sh(`cd ${of}; stat -c '%n %s %a' *`);
  expect(await stat(join(mnt, "files"))).toBe(await stat(join(dir, "plain")));
});

mounted("an unlinked open file keeps its content until it is closed", async () => {
  expect(
    await sh(`exec 5<>open; echo before >&5; sync open; rm open; echo after >&5; test ! -e open; cat /proc/self/fd/5`),
  ).toBe("before\nafter");
});

mounted("a type change under one name, as by git checkout (ceph PR#61068)", async () => {
  await sh(`for i in 1 2 3; do
    echo file > name; test -f name; rm name; mkdir name; echo in > name/x; test "$(cat name/x)" = in; rm -r name
    ln -s target name; test "$(readlink name)" = target; rm name
  done`);
});

mounted("hard links share their content and their inode number", async () => {
  expect(await sh(`echo one > a; ln a b; echo two >> b; cat a; test a -ef b; stat -c %h a; rm a; cat b`)).toBe(
    "one\ntwo\n2\none\ntwo",
  );
});

mounted("synced data is in the volume: it is read back after the kernel's caches are dropped", async () => {
  await sh(`head -c 20000000 /dev/urandom > "$L/random"; dd if="$L/random" of=synced bs=1M conv=fsync status=none`);
  await sh(`echo 3 > /proc/sys/vm/drop_caches || true; cmp synced "$L/random"`);
});

mounted("set-user-ID and set-group-ID end with the change that clears them, as in pjdfstest (defect 9)", async () => {
  // The same on the file system below: the cases are those of POSIX.
  for (const where of ["$L", "$M"]) {
    const script = `chmod 755 "$L"; mkdir "${where}/ids"; cd "${where}/ids"; python3 ${SET_USER_ID}`;
    expect(await sh(script)).toBe("188 checks");
  }
});

mounted("what stat shows of a file is the same before its close and after (defect 4)", async () => {
  const program = `import os
def look(of): return [getattr(of, "st_" + name) for name in ("size", "blocks", "mtime_ns", "ctime_ns", "mode")]
for name, size in ("small", 3000), ("large", 5000000):
  f = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
  os.write(f, b"x" * size)
  before = look(os.fstat(f)); os.close(f); after = look(os.stat(name))
  print(before == after, after[:2])`;
  expect(await sh(`python3 -c '${program}'`)).toBe("True [3000, 6]\nTrue [5000000, 9766]");
  await sh(`echo 3 > /proc/sys/vm/drop_caches; test "$(du -B 512 small large | cut -f 1 | xargs)" = "6 9766"`);
});

mounted("a mapping that was made through a descriptor that appends is written in place (defect 6)", async () => {
  const program = `import mmap, os
f = os.open("mapped", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
os.write(f, b"0123456789")
m = mmap.mmap(f, 10); m[2:4] = b"ab"; m.flush(); m.close()
os.write(f, b"cd"); os.close(f)`;
  expect(await sh(`python3 -c '${program}'; cat mapped`)).toBe("01ab456789cd");
});

mounted("many processes append to and lock one file, and no line is lost", async () => {
  await sh(
    `for p in 1 2 3 4; do (for i in $(seq 25); do flock counter.lock sh -c 'echo line >> counter'; done) & done; wait`,
  );
  expect(await sh("wc -l < counter")).toBe("100");
});

mounted("rsync finds nothing left to copy after it has copied", async () => {
  await sh(`rsync -a ${TREE}/ synced-tree/`);
  expect(await sh(`rsync -ai --checksum ${TREE}/ synced-tree/`)).toBe("");
});

mounted("names that are not valid UTF-8, and the longest names", async () => {
  await sh(`n=$(printf '\\xff\\xfe name'); echo x > "$n"; test "$(cat "$n")" = x; ls | grep -aq "$n"
    long=$(printf 'n%.0s' $(seq 255)); : > "$long"; test -e "$long"; if : > "n$long" 2> /dev/null; then exit 9; fi`);
});

mounted(
  "no program that walks the mount meets .mirrorfs; root enters it by name, others do not, and nobody removes it",
  async () => {
    await sh("mkdir -p walked/d; date > walked/f");
    expect(await sh("(ls -a; find .; tar -cf - . | tar -t) | grep -E '(^|/)\\.mirrorfs' || true")).toBe("");
    const links = Number(await sh("stat -c %h ."));
    expect(links).toBe(2 + Number(await sh("find . -mindepth 1 -maxdepth 1 -type d | wc -l")));
    expect(await sh("ls -a .mirrorfs; stat -c '%i %U %a' .mirrorfs")).toBe(".\n..\nlost+found\ntrash\n2 root 700");
    // The kernel has one cached name for both users, so the permissions decide.
    const other = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    expect(await sh(`${other} ls .mirrorfs 2>&1 | grep -c 'Permission denied'; ls .mirrorfs/trash | wc -l`)).toBe(
      "1\n0",
    );
    const refused = [
      "rmdir .mirrorfs",
      "rm -rf .mirrorfs",
      "mv .mirrorfs visible",
      "mv walked .mirrorfs/walked",
      "mkdir .mirrorfs",
      "chmod 777 .mirrorfs",
      "touch .mirrorfs/new",
      "mv .mirrorfs/trash .",
      `${other} mkdir .mirrorfs/new`,
    ];
    for (const command of refused)
      expect([command, await sh(`${command} 2>/dev/null && echo done || echo refused`)]).toEqual([command, "refused"]);
    await sh("mkdir -p .mirrorfs");
    await sh("find . -mindepth 1 -delete");
    expect(await sh("ls -A | wc -l; stat -c %h .; ls .mirrorfs")).toBe("0\n2\nlost+found\ntrash");
  },
);
