import {
  closeSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** What a power failure leaves of a file's unsynced bytes: none, a prefix, or any of the pages. */
export type Tail = "gone" | "torn" | "pages";

export interface Lost {
  /** Bytes that were written but not synced, and are lost. */
  readonly bytes: number;
  /** Creations, renames and removals that are lost. */
  readonly names: number;
}

type NameChange =
  | { readonly kind: "create"; readonly path: string; readonly file: number }
  | { readonly kind: "mkdir" | "unlink" | "rmdir"; readonly path: string }
  | { readonly kind: "rename"; readonly path: string; readonly to: string };

/** A change of a name, with its offset in the journal; `kept`: it is durable. */
type JournaledChange = NameChange & { readonly at: number; kept: boolean };

interface Durable {
  readonly changes: readonly JournaledChange[];
  /** How many bytes of each file are durable. */
  readonly synced: ReadonlyMap<number, number>;
}

const PAGE_BYTES = 4096;
/** LevelDB's text logs and lock file. */
const NOT_DATA = /\/(LOG|LOG\.old|LOCK)$/;

/**
 * A server's disk: a directory and a journal, written by power-cut.c, of what has been made durable. After a power failure
 * it is reduced to
 *
 * - of a file, the bytes up to its last sync, and of the unsynced rest nothing, a prefix of any length, or any of its pages
 *   with zeros for the others
 * - of a directory, the names at its last sync, a prefix of the changes after it (file systems keep their order), and the
 *   name of every new file that was itself synced (ext4, xfs and btrfs keep it)
 *
 * Files only ever grow (LevelDB's do), so content need not be journaled: it is in the file, or in the graveyard once the
 * file has been removed.
 */
export class Disk {
  readonly #directory: string;
  readonly #journal: string;
  readonly #graveyard: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#journal = `${directory}.journal`;
    this.#graveyard = `${directory}.graveyard`;
    mkdirSync(this.#graveyard);
    writeFileSync(this.#journal, "");
  }

  environment(library: string, powerSwitch: string): Record<string, string> {
    return {
      LD_PRELOAD: library,
      POWER_ROOT: this.#directory,
      POWER_JOURNAL: this.#journal,
      POWER_GRAVEYARD: this.#graveyard,
      POWER_SWITCH: powerSwitch,
    };
  }

  /** Writes one of the possible images after a power failure to `target`. No process may have the disk open. */
  image(target: string, tail: Tail, random: () => number): Lost {
    const durable = readJournal(readFileSync(this.#journal, "latin1"));
    const { left, names } = namesLeft(this.#directory, durable, random);
    const places = this.#places();
    const made = new Set([dirname(this.#directory)]);
    let bytes = 0;
    for (const [path, file] of [...left].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const place = target + path.slice(this.#directory.length);
      if (!made.has(dirname(path))) continue; // its directory was lost
      if (file === DIRECTORY) {
        mkdirSync(place);
        made.add(path);
      } else {
        copyFileSync(places.get(file)!, place);
        const dropped = dropUnsynced(place, durable.synced.get(file) ?? 0, tail, random);
        if (!NOT_DATA.test(path)) bytes += dropped;
      }
    }
    return { bytes, names };
  }

  /** Replaces the disk's content by one of the possible images. */
  cut(tail: Tail, random: () => number): Lost {
    const image = `${this.#directory}.image`;
    const lost = this.image(image, tail, random);
    rmSync(this.#directory, { recursive: true });
    rmSync(this.#graveyard, { recursive: true });
    mkdirSync(this.#graveyard);
    renameSync(image, this.#directory);
    writeFileSync(this.#journal, [...this.#asDurable()].join(""));
    return lost;
  }

  /** Where each file's content is stored, by inode number. */
  #places(): Map<number, string> {
    const places = new Map<number, string>();
    for (const path of walk(this.#directory)) places.set(lstatSync(path).ino, path);
    for (const name of readdirSync(this.#graveyard)) places.set(Number(name), join(this.#graveyard, name));
    return places;
  }

  /** A journal that declares everything on the disk durable. */
  *#asDurable(): Generator<string> {
    let written = 0;
    for (const path of walk(this.#directory)) {
      const { ino, size } = lstatSync(path);
      const isDirectory = lstatSync(path).isDirectory();
      if (path === this.#directory) continue; // it is always there
      const line = isDirectory ? `M ${path}\n` : `C ${ino} ${path}\nS ${ino} ${size}\n`;
      written += line.length;
      yield line;
    }
    for (const path of walk(this.#directory)) if (lstatSync(path).isDirectory()) yield `D ${written} ${path}\n`;
  }
}

const DIRECTORY = -1;

/** All paths below a directory, the directory itself first. */
function* walk(path: string): Generator<string> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  yield path;
  if (found.isDirectory()) for (const name of readdirSync(path)) yield* walk(join(path, name));
}

function readJournal(text: string): Durable {
  const changes: JournaledChange[] = [];
  const synced = new Map<number, number>();
  let at = 0;
  for (const line of text.split("\n")) {
    const [, kind, rest] = /^(.) (.*)$/.exec(line) ?? [];
    const [first, second] = [rest?.split(/[ \t]/, 1)[0] ?? "", rest?.replace(/^\S+[ \t]?/, "") ?? ""];
    const add = (change: NameChange) => changes.push({ ...change, at, kept: false });
    if (kind === "C") add({ kind: "create", file: Number(first), path: second });
    else if (kind === "M") add({ kind: "mkdir", path: first });
    else if (kind === "R") add({ kind: "rename", path: first, to: second });
    else if (kind === "U") add({ kind: "unlink", path: first });
    else if (kind === "X") add({ kind: "rmdir", path: first });
    else if (kind === "D") keep(changes, (it) => dirname(it.path) === second && it.at < Number(first));
    else if (kind === "S") {
      synced.set(Number(first), Number(second));
      keep(changes, (it) => it.kind === "create" && it.file === Number(first));
    }
    at += line.length + 1;
  }
  return { changes, synced };
}

function keep(changes: readonly JournaledChange[], which: (change: JournaledChange) => boolean): void {
  for (const change of changes) if (!change.kept && which(change)) change.kept = true;
}

/** The names that survive, each with its inode number. */
function namesLeft(
  root: string,
  { changes }: Durable,
  random: () => number,
): { left: Map<string, number>; names: number } {
  const left = new Map([[root, DIRECTORY]]);
  const cutAt = new Map<string, number>();
  let names = 0;
  for (const change of changes) {
    const directory = dirname(change.path);
    if (!change.kept) {
      // Of each directory's unsynced changes a random prefix survives.
      if (!cutAt.has(directory)) cutAt.set(directory, random() < 0.5 ? 0 : change.at + Math.floor(random() * 2000));
      if (change.at >= cutAt.get(directory)!) {
        if (!NOT_DATA.test(change.path)) names += 1;
        continue;
      }
    }
    apply(left, change);
  }
  return { left, names };
}

function apply(left: Map<string, number>, change: NameChange): void {
  if (change.kind === "create") left.set(change.path, change.file);
  else if (change.kind === "mkdir") left.set(change.path, DIRECTORY);
  else if (change.kind === "rename") {
    const file = left.get(change.path);
    if (file === undefined) return;
    left.delete(change.path);
    left.set(change.to, file);
  } else left.delete(change.path);
}

/** Drops or zeroes unsynced bytes. @returns how many. */
function dropUnsynced(path: string, synced: number, tail: Tail, random: () => number): number {
  const { size } = lstatSync(path);
  if (size <= synced) return 0;
  if (tail !== "pages") {
    const kept = tail === "gone" ? 0 : Math.floor(random() * (size - synced));
    truncateSync(path, synced + kept);
    return size - synced - kept;
  }
  const file = openSync(path, "r+");
  let lost = 0;
  for (let at = synced; at < size; at = (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES) {
    const bytes = Math.min(PAGE_BYTES - (at % PAGE_BYTES), size - at);
    if (random() < 0.5) continue;
    writeSync(file, Buffer.alloc(bytes), 0, bytes, at);
    lost += bytes;
  }
  closeSync(file);
  return lost;
}
