import fs from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AIO } from "./aio.ts";
import { canMount, clean, ok, python, run, type Server, serve, temporaryDirectory } from "./harness.ts";

describe.skipIf(!canMount)("system calls on a mount (needs root and /dev/fuse)", () => {
  let server: Server;
  beforeAll(async () => {
    server = await serve(await temporaryDirectory());
  });
  afterAll(() => clean(server));
  const inMount = (program: string) => python(program, { cwd: server.directory });

  test("a name is any bytes but / and NUL, up to 255 of them", async () => {
    const names = await inMount(`
import os, json
os.mkdir("names")
wanted = [bytes([b]) + b"x" for b in range(1, 256) if b != 47] + [bytes([b]) * 255 for b in (97, 255)]
for n in wanted: open(b"names/" + n, "wb").write(n)
listed = os.listdir(b"names")
read = all(open(b"names/" + n, "rb").read() == n for n in wanted)
try:
  os.mkdir(b"names/" + b"n" * 256); long = "made"
except OSError as e: long = e.errno
print(json.dumps([sorted(listed) == sorted(wanted), read, long]))`);
    expect(names).toEqual([true, true, 36]);
  });

  test("times are 64 bits signed, and nanoseconds", async () => {
    const times = await inMount(`
import os, json
open("times", "w").close()
seen = []
for s in (-2**40, -1, 0, 2**31, 2**34 + 1, 2**50):
  ns = s * 10**9 + 123456789
  os.utime("times", ns=(ns + 1, ns))
  st = os.stat("times")
  seen.append([st.st_atime_ns - ns, st.st_mtime_ns - ns])
print(json.dumps(seen))`);
    expect(times).toEqual(Array.from({ length: 6 }, () => [1, 0]));
  });

  test("rename: replaces, refuses with NOREPLACE, swaps with EXCHANGE", async () => {
    const renamed = await inMount(`
import os, json, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def renameat2(a, b, flags):
  return 0 if libc.renameat2(-100, a, -100, b, flags) == 0 else ctypes.get_errno()
for n in "ab": open("r" + n, "w").write(n)
read = lambda n: open(n).read()
out = [renameat2(b"ra", b"rb", 1), renameat2(b"ra", b"rb", 2), read("ra"), read("rb"), renameat2(b"ra", b"rc", 1), read("rc"), renameat2(b"rc", b"rb", 4)]
os.rename("rc", "rb"); out += [read("rb"), os.path.exists("rc")]
os.mkdir("rd"); os.mkdir("re"); open("re/f", "w").close()
try: os.rename("rd", "re"); out.append(0)
except OSError as e: out.append(e.errno)
print(json.dumps(out))`);
    expect(renamed).toEqual([17, 0, "b", "a", 0, "b", 22, "b", false, 39]);
  });

  test("xattrs: set, create, replace, list, sizes, remove; no ACLs", async () => {
    const xattrs = await inMount(`
import os, json
open("x", "w").close()
def errno(f):
  try: f(); return 0
  except OSError as e: return e.errno
big = os.urandom(60000)
os.setxattr("x", "user.big", big); os.setxattr("x", "user.empty", b""); os.setxattr("x", b"user.\\xff", b"v")
out = [os.getxattr("x", "user.big") == big, len(os.getxattr("x", "user.empty")), sorted(os.fsencode(n).hex()[:14] for n in os.listxattr("x"))]
out += [errno(lambda: os.setxattr("x", "user.big", b"", os.XATTR_CREATE)), errno(lambda: os.setxattr("x", "user.no", b"", os.XATTR_REPLACE)), errno(lambda: os.getxattr("x", "user.no"))]
os.removexattr("x", "user.big")
out += [errno(lambda: os.removexattr("x", "user.big")), errno(lambda: os.setxattr("x", "system.posix_acl_access", b"\\2\\0\\0\\0")), len(os.listxattr("x"))]
print(json.dumps(out))`);
    const names = ["user.b", "user.e"].map((name) => Buffer.from(name).toString("hex"));
    expect(xattrs).toEqual([
      true,
      0,
      [
        ...names.map((name, index) => name + ["69", "6d"][index]),
        Buffer.from("user.\xff", "latin1").toString("hex"),
      ].sort(),
      17,
      61,
      61,
      61,
      95,
      2,
    ]);
  });

  test("locks: fcntl ranges conflict between processes and go with close; flock belongs to the open file", async () => {
    const locks = await inMount(`
import fcntl, os, json, struct, subprocess, sys
open("locks", "w").write("0123456789")
child = lambda code: subprocess.run([sys.executable, "-c", "import fcntl,os,struct\\n" + code], capture_output=True, text=True).stdout.strip()
f = open("locks", "r+")
fcntl.lockf(f, fcntl.LOCK_EX, 3, 2)
ask = "f=open('locks','r+')\\nr=fcntl.fcntl(f,fcntl.F_GETLK,struct.pack('hhqqi',fcntl.F_WRLCK,0,%d,0,0))\\nt,w,s,l,p=struct.unpack('hhqqi',r[:28])\\nprint(t,s,l,p==os.getppid())"
take = "f=open('locks','r+')\\ntry:\\n fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,%d,%d);print('taken')\\nexcept OSError as e:print(e.errno)"
out = [child(ask % 0), child(ask % 5), child(take % (2, 0)), child(take % (1, 3)), child(take % (0, 5))]
open("locks").close()
out.append(child(take % (1, 3)))
fcntl.flock(f, fcntl.LOCK_EX)
flock = "f=open('locks')\\ntry:\\n fcntl.flock(f,fcntl.LOCK_SH|fcntl.LOCK_NB);print('taken')\\nexcept OSError as e:print(e.errno)"
out.append(child(flock)); f.close(); out.append(child(flock))
print(json.dumps(out))`);
    expect(locks).toEqual(["1 2 3 True", "2 5 0 False", "taken", "11", "taken", "taken", "11", "taken"]);
  });

  test("a lock is granted to a waiter once its holder releases it, and any signal ends the wait with EINTR", async () => {
    const waited = await inMount(`
import fcntl, os, json, signal, subprocess, sys, time
open("wait", "w").close()
f = open("wait", "r+"); fcntl.lockf(f, fcntl.LOCK_EX)
waiter = lambda extra: subprocess.Popen([sys.executable, "-c", "import fcntl,signal\\nclass S(Exception):pass\\ndef h(*a):raise S()\\nsignal.signal(signal.SIGALRM,h)\\n" + extra + "\\nf=open('wait','r+')\\nprint('go',flush=True)\\ntry:\\n fcntl.lockf(f,fcntl.LOCK_EX);print('locked')\\nexcept S:print('signalled')"], stdout=subprocess.PIPE, text=True)
a = waiter("signal.setitimer(signal.ITIMER_REAL,0.6)"); b = waiter("")
a.stdout.readline(); b.stdout.readline()
first = a.stdout.readline().strip(); a.wait()
still = b.poll() is None
fcntl.lockf(f, fcntl.LOCK_UN)
print(json.dumps([first, still, b.stdout.readline().strip(), b.wait()]))`);
    expect(waited).toEqual(["signalled", true, "locked", 0]);
  });

  test("an open file stays readable after unlink, and is removed at its last close", async () => {
    const kept = await inMount(`
import os, json
f = open("gone", "w+"); f.write("still"); f.flush(); os.unlink("gone")
f.seek(0); print(json.dumps([f.read(), os.fstat(f.fileno()).st_nlink, os.path.exists("gone"), os.listdir(".").count("gone")]))`);
    expect(kept).toEqual(["still", 0, false, 0]);
  });

  test("modes: umask, set-uid cleared by chown and by writes of another user, device numbers, fifos, sockets", async () => {
    const modes = await inMount(`
import os, json, socket, stat
old = os.umask(0o027)
os.mkdir("m"); os.chmod("m", 0o777); open("m/f", "w").close(); os.mkdir("m/d"); out = [oct(os.stat("m/f").st_mode), oct(os.stat("m/d").st_mode)]
os.umask(0)
def asNobody(f):
  pid = os.fork()
  if pid == 0:
    os.setgid(65534); os.setuid(65534)
    try: f()
    finally: os._exit(0)
  os.waitpid(pid, 0)
for how in ("write", "truncate", "open"):
  open("m/s", "w").write("x"); os.chmod("m/s", 0o6777)
  asNobody({"write": lambda: open("m/s", "r+").write("y"), "truncate": lambda: os.truncate("m/s", 0), "open": lambda: open("m/s", "w")}[how])
  out.append(oct(os.stat("m/s").st_mode & 0o7777))
os.chmod("m/s", 0o6777); os.chown("m/s", 1, 1); out.append(oct(os.stat("m/s").st_mode & 0o7777))
os.mknod("m/c", stat.S_IFCHR | 0o600, os.makedev(300, 70000)); st = os.stat("m/c"); out.append([os.major(st.st_rdev), os.minor(st.st_rdev), stat.S_ISCHR(st.st_mode)])
os.mkfifo("m/p"); socket.socket(socket.AF_UNIX).bind("m/sock"); out.append([stat.S_ISFIFO(os.stat("m/p").st_mode), stat.S_ISSOCK(os.stat("m/sock").st_mode)])
asNobody(lambda: open("m/mine", "w")); out.append(os.stat("m/mine").st_uid)
print(json.dumps(out))`);
    expect(modes).toEqual([
      "0o100640",
      "0o40750",
      "0o777",
      "0o777",
      "0o777",
      "0o777",
      [300, 70000, true],
      [true, true],
      65534,
    ]);
  });

  test("O_CREAT of a name that exists by then opens it only if the caller may (defect 7)", async () => {
    const opened = await inMount(`
import os, json
os.mkdir("all"); os.chmod("all", 0o777); os.chdir("all")
for n in "ab": open("early" + n, "w").write("mine"); os.chmod("early" + n, 0o600); os.rename("early" + n, "late" + n)
seen = os.pipe()
if os.fork() == 0:
  os.setgid(65534); os.setuid(65534)
  try: os.open("latea", os.O_RDWR | os.O_CREAT); os.write(seen[1], b"opened")
  except OSError as e: os.write(seen[1], str(e.errno).encode())
  os._exit(0)
os.wait()
print(json.dumps([os.read(seen[0], 9).decode(), os.read(os.open("lateb", os.O_RDWR | os.O_CREAT), 9).decode()]))`);
    expect(opened).toEqual(["13", "mine"]);
  });

  test("posix_fallocate, holes, copy_file_range and O_TMPFILE", async () => {
    const out = await inMount(`
import os, json, ctypes
def errno(f):
  try: f(); return 0
  except OSError as e: return e.errno
f = os.open("a", os.O_RDWR | os.O_CREAT); os.write(f, b"12345")
os.posix_fallocate(f, 0, 10000)
out = [os.fstat(f).st_size, os.lseek(f, 0, os.SEEK_DATA), os.lseek(f, 0, os.SEEK_HOLE), errno(lambda: os.lseek(f, 20000, os.SEEK_DATA))]
g = os.open("b", os.O_RDWR | os.O_CREAT)
out += [os.copy_file_range(f, g, 5, 0), os.pread(g, 10, 0).decode(), errno(lambda: os.open(".", os.O_TMPFILE | os.O_RDWR)), errno(lambda: os.sync())]
print(json.dumps(out))`);
    expect(out).toEqual([10000, 0, 10000, 6, 5, "12345", 95, 0]);
  });

  test("a listing of 5,000 names has each name once, also while names are removed", async () => {
    const listed = await inMount(`
import os, json
os.mkdir("many")
for i in range(5000): os.mknod("many/%d" % i)
first = sorted(int(n) for n in os.listdir("many")) == list(range(5000))
seen = set()
for e in os.scandir("many"):
  seen.add(e.name)
  os.unlink("many/" + e.name)
print(json.dumps([first, len(seen), os.listdir("many"), os.stat("many").st_nlink]))`);
    expect(listed).toEqual([true, 5000, [], 2]);
  });

  test("mmap: shared writes are read back; a program runs from the mount", async () => {
    const mapped = await inMount(`
import mmap, os, json, subprocess, shutil
open("map", "wb").write(b"a" * 10000)
f = open("map", "r+b"); m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b"hello"; m.flush(); m.close(); f.close()
shutil.copy("/bin/echo", "echo")
print(json.dumps([open("map", "rb").read()[4999:5006].decode(), subprocess.run(["./echo", "run"], capture_output=True, text=True).stdout]))`);
    expect(mapped).toEqual(["ahelloa", "run\n"]);
  });

  test("file handles: an inode is opened by its number (EXPORT_SUPPORT), also after the kernel has forgotten it", async () => {
    const out = await inMount(`
import ctypes, os, json, struct
libc = ctypes.CDLL(None, use_errno=True)
os.makedirs("h/i"); open("h/i/f", "w").write("by handle")
buf = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128)); mount = ctypes.c_int()
assert libc.name_to_handle_at(-100, b"h/i/f", buf, ctypes.byref(mount), 0) == 0, ctypes.get_errno()
open("/proc/sys/vm/drop_caches", "w").write("2")
here = os.open(".", os.O_RDONLY)
fd = libc.open_by_handle_at(here, buf, os.O_RDONLY)
print(json.dumps([fd >= 0 and os.read(fd, 20).decode(), ctypes.get_errno() if fd < 0 else 0]))`);
    expect(out).toEqual(["by handle", 0]);
  });

  test("an asynchronous direct write with O_DSYNC asks to be durable; other writes do not (defect 10)", async () => {
    const counts = [(await server.counts()).durableWrites];
    const writes = async (flags: string, code: string) => {
      await inMount(`${AIO}
fd = os.open("aio", os.O_RDWR | os.O_CREAT | ${flags}, 0o644)
os.ftruncate(fd, 8192)
${code}
assert os.pread(os.open("aio", os.O_RDONLY), 4096, 4096) == b"a" * 4096`);
      counts.push((await server.counts()).durableWrites);
    };
    const asynchronous = `submit(fd, b"a" * 4096, 4096); assert finish() == 4096`;
    await writes("os.O_DIRECT | os.O_DSYNC", asynchronous);
    await writes("os.O_DIRECT | os.O_SYNC", asynchronous);
    await writes("os.O_DIRECT", asynchronous);
    await writes("os.O_DSYNC", `os.pwrite(fd, b"a" * 4096, 4096)`);
    expect(counts).toEqual([0, 1, 2, 2, 2]);
  });

  test("statfs and df: 64-bit counts", async () => {
    const stats = await fs.statfs(server.directory);
    expect([stats.bsize, stats.blocks, stats.ffree]).toEqual([4096, 2 ** 40, 2 ** 32]);
    expect(await ok(["stat", "-c", "%i", server.directory])).toBe("1\n");
  });

  test("read-only: nothing can be written", async () => {
    const readOnly = await serve(await temporaryDirectory(), { fuse: { readOnly: true, name: "probe" } });
    const touched = await run(["touch", path.join(readOnly.directory, "f")]);
    const mounts = await fs.readFile("/proc/self/mounts", "utf8");
    await clean(readOnly);
    expect(touched.stderr).toContain("Read-only file system");
    expect(mounts).toMatch(new RegExp(`^memory ${readOnly.directory} fuse\\.probe ro,`, "m"));
  });
});
