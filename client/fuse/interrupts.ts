import fs from "node:fs";

/**
 * Signals whose default action does not end the process (signal(7)): SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
 * SIGTTOU, SIGURG, SIGWINCH.
 */
const HARMLESS = [17, 18, 19, 20, 21, 22, 23, 28].reduce((mask, signal) => mask | (1n << BigInt(signal - 1)), 0n);

/**
 * Whether the thread that sent a request is being killed. The kernel sends FUSE_INTERRUPT for every signal, also for
 * one that the program catches before it continues (git's progress alarm, a shell's SIGCHLD). Such a program does not
 * expect EINTR from mkdir or stat, and would repeat an operation that was done. As on local file systems and NFS, only
 * a fatal signal ends the wait. `tid` 0: a process outside this PID namespace, whose state cannot be read; it counts as
 * dying.
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
  // The kernel turns a fatal signal into SIGKILL for every thread (complete_signal in kernel/signal.c), unless it dumps
  // core.
  const survived = mask("SigBlk") | mask("SigIgn") | mask("SigCgt") | HARMLESS;
  return ((mask("SigPnd") | mask("ShdPnd")) & ~survived) !== 0n;
}
