import { type ChildProcess, fork } from "node:child_process";

/**
 * A child process that performs one task on a mount and reports events. A child, because a process that serves a
 * mount must never access it.
 */
export interface Job {
  /** Resolves when the task is done. Rejects with its error. */
  readonly done: Promise<void>;
  /** Asks the job to finish gracefully, and waits for it. */
  finish(): Promise<void>;
  kill(): void;
}

export interface JobEnvironment {
  readonly environment: NodeJS.ProcessEnv;
  /** Kills the job when it is aborted. */
  readonly ending: AbortSignal;
}

type ToJob<Task> = { task: Task } | { finish: true };
type FromJob<Event> = { event: Event } | { failed: string } | { done: true };

/** Runs a job to its end. @returns its events, in order. @throws Error when it fails. */
export async function runToEnd<Task, Event>(script: URL, task: Task, environment: JobEnvironment): Promise<Event[]> {
  const events: Event[] = [];
  await startJob<Task, Event>(script, task, (event) => events.push(event), environment).done;
  return events;
}

/**
 * Starts the module at `script`, which calls `runJob`, with a task. Its events come in order. It is killed when `ending`
 * is aborted.
 */
export function startJob<Task, Event>(
  script: URL,
  task: Task,
  onEvent: (event: Event) => void,
  { ending, environment }: JobEnvironment,
): Job {
  const stdio = ["ignore", "inherit", "inherit", "ipc"] as const;
  const child = fork(script, {
    serialization: "advanced",
    stdio: [...stdio],
    // By default Node runs only four file operations in parallel.
    env: { ...environment, UV_THREADPOOL_SIZE: "128" },
    signal: ending,
    killSignal: "SIGKILL",
  });
  const send = (message: ToJob<Task>) => void (child.connected && child.send(message as object, () => {}));
  const done = ended(child, onEvent);
  // The caller handles a rejection when it awaits `done` or `finish()`.
  done.catch(() => {});
  send({ task });
  return {
    done,
    finish: async () => {
      send({ finish: true });
      await done;
    },
    kill: () => void child.kill("SIGKILL"),
  };
}

function ended<Event>(child: ChildProcess, onEvent: (event: Event) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    // A job that exits without a last message has failed: its last events may be lost too.
    let end: { failed: string } | { done: true } | undefined;
    child.on("message", (message: FromJob<Event>) => {
      if ("event" in message) onEvent(message.event);
      else end = message;
    });
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (end !== undefined && "done" in end) resolve();
      else reject(new Error(end?.failed ?? `ended with ${signal ?? code}`));
    });
  });
}

/**
 * Called by a job's module: performs the task that the parent sends, and exits. `finishing` is aborted when the
 * parent asks the job to finish.
 */
export function runJob<Task, Event>(
  work: (task: Task, emit: (event: Event) => void, finishing: AbortSignal) => Promise<void>,
): void {
  const finishing = new AbortController();
  const emit = (event: Event) => void process.send?.({ event });
  const end = (last: FromJob<Event>) => process.send?.(last, () => process.exit());
  // The parent has exited.
  process.on("disconnect", () => process.exit(1));
  process.on("message", (message: ToJob<Task>) => {
    if ("finish" in message) return finishing.abort();
    work(message.task, emit, finishing.signal).then(
      () => end({ done: true }),
      (error: Error) => end({ failed: error.message }),
    );
  });
}
