"""Programs that stay in the directory they are started in, with files open, while the primary moves.

Started in an empty directory of a mount: `lives-through.py REGION`. For each line of standard input it does one round
of everything, and answers with a line of JSON: {"turn": 0, "errors": []}.
"""
import ctypes
import json
import mmap
import os
import sqlite3
import struct
import subprocess
import sys
import traceback

region = sys.argv[1]
home = os.getcwd()
shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def in_shell(command):
    shell.stdin.write(f'{command}\necho "= $?"\n')
    shell.stdin.flush()
    printed = ""
    while True:
        line = shell.stdout.readline()
        if line == "= 0\n":
            return printed
        if line == "" or line.startswith("= "):
            raise RuntimeError(f"{command}: {line.strip()}: {printed}")
        printed += line


def working_directory(turn):
    assert os.getcwd() == home, os.getcwd()
    in_shell(f"set -e; echo {turn} > made-{turn}; test $(cat made-{turn}) = {turn}; mkdir -p deep/{turn}")
    here = in_shell("/bin/pwd -P").strip()
    assert here == home, here


def git(turn):
    """Git reads its working directory with getcwd(2), and ends where that fails."""

    def run(*arguments):
        ran = subprocess.run(["git", *arguments], capture_output=True, text=True)
        assert ran.returncode == 0, f"git {arguments[0]}: {ran.returncode}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    identity = ["-c", "user.name=mirrorfs", "-c", "user.email=mirrorfs@localhost", "-c", "gc.auto=0"]
    if turn == 0:
        run("init", "--quiet")
    run(*identity, "commit", "--quiet", "--allow-empty", "-m", f"turn {turn}")
    assert run("log", "--oneline").count("\n") == turn + 1


database = sqlite3.connect("database", isolation_level=None, timeout=30)
database.execute("create table turns (turn integer)")


def sqlite(turn):
    database.execute("insert into turns values (?)", (turn,))
    assert database.execute("select turn from turns order by turn").fetchall() == [(n,) for n in range(turn + 1)]
    assert database.execute("pragma integrity_check").fetchall() == [("ok",)]


open_log = os.open("log", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)


def descriptors(turn):
    os.write(open_log, b"%8d" % turn)
    if turn % 2 == 1:
        os.fsync(open_log)
    expected = b"".join(b"%8d" % n for n in range(turn + 1))
    assert os.pread(open_log, 65536, 0) == expected, "the log that is open"


MAP_BYTES = 4 * 1024 * 1024
map_file = os.open("map", os.O_CREAT | os.O_RDWR, 0o644)
os.ftruncate(map_file, MAP_BYTES)
shared = mmap.mmap(map_file, MAP_BYTES, mmap.MAP_SHARED)


def mapping(turn):
    for n in range(turn):
        assert struct.unpack_from("<q", shared, n * 4096) == (n + 1,), f"page {n} of the map"
    struct.pack_into("<q", shared, turn * 4096, turn + 1)
    shared.flush()
    assert struct.unpack_from("<q", shared, turn * 4096) == (turn + 1,)
    assert struct.unpack("<q", os.pread(map_file, 8, turn * 4096)) == (turn + 1,), "the map's file"


libc = ctypes.CDLL(None, use_errno=True)
IN_CREATE, IN_IGNORED, IN_NONBLOCK = 0x100, 0x8000, 0o4000
watch = libc.inotify_init1(IN_NONBLOCK)
assert watch >= 0 and libc.inotify_add_watch(watch, b".", IN_CREATE) >= 0, os.strerror(ctypes.get_errno())


def inotify(turn):
    os.close(os.open(f"watched-{turn}", os.O_CREAT | os.O_WRONLY, 0o644))
    events, at = os.read(watch, 65536), 0
    names = []
    while at < len(events):
        _, mask, _, length = struct.unpack_from("iIII", events, at)
        assert not mask & IN_IGNORED, "the watch has ended"
        names.append(events[at + 16 : at + 16 + length].rstrip(b"\0").decode())
        at += 16 + length
    assert f"watched-{turn}" in names, names


STEPS = [working_directory, git, sqlite, descriptors, mapping, inotify]

for turn, _ in enumerate(sys.stdin):
    errors = []
    for step in STEPS:
        try:
            step(turn)
        except Exception:
            errors.append(f"{region}, {step.__name__}, turn {turn}: {traceback.format_exc(limit=2)}")
    print(json.dumps({"turn": turn, "errors": errors}), flush=True)
