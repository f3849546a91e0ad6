import fs from "node:fs";

/** Signals that do nothing where no handler is set: SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH. */
const HARMLESS = [17, 18, 19, 20, 21, 22, 23, 28].reduce((mask, signal) => mask | (1n << BigInt(signal - 1)), 0n);

/**
 * Whether the thread that sent a request is being killed. Any signal makes the kernel send INTERRUPT, also one that the
 * program catches and goes on after (git's progress alarm, a shell's SIGCHLD): such a program does not expect EINTR from
 * mkdir or stat, and would repeat what was done. As on a local disk and on NFS, only death ends a wait for a file.
 * `tid` 0: a process that this PID namespace does not see; taken as dying, since that cannot be known later either.
 */
export function isDying(tid: number): boolean {
  if (tid === 0) return true;
  let status: string;
  try {
    status = fs.readFileSync(`/proc/${tid}/status`, "latin1");
  } catch {
    return true;
  }
  return isDyingByStatus(status);
}

/** The same, from the text of /proc/TID/status (proc_pid_status(5)). */
export function isDyingByStatus(status: string): boolean {
  if (/^State:\s+[ZX]/m.test(status)) return true;
  const mask = (name: string) => BigInt(`0x${new RegExp(`^${name}:\\s+([0-9a-f]+)`, "m").exec(status)?.[1] ?? "0"}`);
  // The kernel turns a deadly signal into SIGKILL for each thread of the process; one that dumps core stays as it is.
  const survived = mask("SigBlk") | mask("SigIgn") | mask("SigCgt") | HARMLESS;
  return ((mask("SigPnd") | mask("ShdPnd")) & ~survived) !== 0n;
}
