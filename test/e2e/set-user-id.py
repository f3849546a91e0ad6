"""Set-user-ID and set-group-ID after changes by users with and without privilege: prints a line for each deviation.

Run as root, in a directory of the file system under test. Each change is made by another process, which holds the file
open while both look at it.
"""

import os
import subprocess

ROOT, OWNER, STRANGER = 0, 65533, 65534
checks = 0


def expect(case, moment, mode, expected):
    global checks
    checks += 1
    if mode != expected:
        print(f"{case}, {moment}: {mode:o} instead of {expected:o}")


def mode_of(path):
    return os.stat(path).st_mode & 0o7777


def truncate_by_path(fd):
    os.truncate(os.readlink(f"/proc/self/fd/{fd}"), 1)


CHANGES = {
    "write": lambda fd: os.write(fd, b"x"),
    "pwrite": lambda fd: os.pwrite(fd, b"x", 7),
    "pwritev": lambda fd: os.pwritev(fd, [b"x", b"y"], 2),
    "append": lambda fd: os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND)) or os.write(fd, b"x"),
    "write of 100 KiB": lambda fd: os.write(fd, bytes(100 * 1024)),
    "ftruncate": lambda fd: os.ftruncate(fd, 1),
    "truncate": truncate_by_path,
    "O_TRUNC": lambda fd: os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)),
}


def attempt(case, path, user, change, expected):
    """`change` by `user`; both processes look at the mode before and after the close."""
    mode_of(path)
    to_child, to_parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        fd = os.open(path, os.O_RDWR)
        change(fd)
        os.write(to_parent[1], b"%o" % (os.fstat(fd).st_mode & 0o7777))
        os.read(to_child[0], 1)
        os.close(fd)
        os._exit(0)
    expect(case, "by fstat", int(os.read(to_parent[0], 9), 8), expected)
    expect(case, "before the close", mode_of(path), expected)
    os.write(to_child[1], b"x")
    os.waitpid(child, 0)
    expect(case, "after the close", mode_of(path), expected)
    for end in to_child + to_parent:
        os.close(end)


def make(path, mode, owner=ROOT):
    with open(path, "wb") as file:
        file.write(b"content")
    os.chown(path, owner, owner)
    os.chmod(path, mode)


def changes_of_content():
    for name, change in CHANGES.items():
        for mode in (0o4777, 0o2777, 0o6777):
            # Writing as its owner is no different from writing as a stranger: once is enough.
            owner = ((OWNER, 0o777),) if name == "write" else ()
            for user, left in ((STRANGER, 0o777), (ROOT, mode), *owner):
                path = os.path.abspath("file")
                make(path, mode, owner=OWNER)
                attempt(f"{name} of {mode:o} by {user}", path, user, change, left)


def mode_is_set_again():
    """What was set after the write is kept, and what was set before it is cleared, also while the file is open."""
    for first, left in (("write", 0o4777), ("chmod", 0o777)):
        path = os.path.abspath("again")
        make(path, 0o4777, owner=OWNER)

        def change(fd):
            if first == "write":
                os.write(fd, b"x")
            os.fchmod(fd, 0o4777)
            if first == "chmod":
                os.write(fd, b"x")

        attempt(f"{first} first", path, OWNER, change, left)


def changes_of_owner():
    for mode in (0o4777, 0o2777, 0o6777):
        for case, user in (("its owner", OWNER), ("root", ROOT)):
            path = os.path.abspath("owned")
            make(path, mode, owner=OWNER)
            attempt(f"chown of {mode:o} by {case}", path, user, lambda fd: os.fchown(fd, OWNER, OWNER), 0o777)
    os.mkdir("directory")
    os.chmod("directory", 0o6777)
    os.chown("directory", OWNER, OWNER)
    expect("chown of a directory", "afterwards", mode_of("directory"), 0o6777)


def changes_of_mode():
    """chmod(2): set-group-ID is not given to a file of a group that the caller is not in."""
    path = os.path.abspath("group")
    make(path, 0o755, owner=OWNER)
    os.chown(path, OWNER, STRANGER)
    attempt("chmod of another group's file", path, OWNER, lambda fd: os.fchmod(fd, 0o2755), 0o755)
    attempt("chmod by root", path, ROOT, lambda fd: os.fchmod(fd, 0o2755), 0o2755)


def execution():
    """execve(2) does not ask for the mode: the one that the kernel has must be right."""
    with open("/usr/bin/id", "rb") as file:
        content = file.read()

    def user_of(path):
        as_stranger = {"user": STRANGER, "group": STRANGER, "extra_groups": []}
        return int(subprocess.run([path, "-u"], check=True, capture_output=True, **as_stranger).stdout)

    for name in ("write", "O_TRUNC"):
        path = os.path.abspath(f"program-{name}")
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o4777)
        expect(f"{name} of a program", "before it", user_of(path), ROOT)
        writer = os.open(path, os.O_WRONLY)
        child = os.fork()
        if child == 0:
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            fd = os.open(path, os.O_WRONLY | (os.O_TRUNC if name == "O_TRUNC" else 0))
            if name == "write":
                os.write(fd, content[:1])
            os._exit(0)
        os.waitpid(child, 0)
        os.write(writer, content)
        os.close(writer)
        expect(f"{name} of a program", "after it", user_of(path), STRANGER)


changes_of_content()
mode_is_set_again()
changes_of_owner()
changes_of_mode()
execution()
print(f"{checks} checks")
