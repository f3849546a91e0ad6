import { type ChildProcess, fork } from "node:child_process";

/** A process of its own that does one task on a mount and tells what happens: who serves a mount must never read it. */
export interface Job {
  /** Resolves when the task is done. @throws what it failed with. */
  readonly done: Promise<void>;
  /** Asks it to end in good order, and waits for that. */
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

/** Runs a job to its end. @returns its events, in order. @throws what it failed with. */
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
    // As many files at once as a job asks for: by default Node looks at four.
    env: { ...environment, UV_THREADPOOL_SIZE: "128" },
    signal: ending,
    killSignal: "SIGKILL",
  });
  const send = (message: ToJob<Task>) => void (child.connected && child.send(message as object, () => {}));
  const done = ended(child, onEvent);
  // Who waits for it, or for finish(), hears of it.
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
    // Nothing counts as done that did not say so: what it told before might be lost as well.
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

/** In the job's process: does the task it is sent, and ends. `finishing` is aborted when it is to end in good order. */
export function runJob<Task, Event>(
  work: (task: Task, tell: (event: Event) => void, finishing: AbortSignal) => Promise<void>,
): void {
  const finishing = new AbortController();
  const tell = (event: Event) => void process.send?.({ event });
  const end = (last: FromJob<Event>) => process.send?.(last, () => process.exit());
  // Without its parent it has nobody to tell.
  process.on("disconnect", () => process.exit(1));
  process.on("message", (message: ToJob<Task>) => {
    if ("finish" in message) return finishing.abort();
    work(message.task, tell, finishing.signal).then(
      () => end({ done: true }),
      (error: Error) => end({ failed: error.message }),
    );
  });
}
