import { chmod, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { PRIVATE_DIRECTORY } from "../../base/private-files.ts";
import { UserError } from "../../base/user-error.ts";
import { StorageError } from "../../consensus/storage-error.ts";
import { replaceFile, syncDirectory } from "./durable-files.ts";
import { LevelLog } from "./level-log.ts";
import { STATE_POINTER, StateStore, type StateStoreOptions } from "./state-store.ts";

const IDENTITY = "identity.json";
/** Since 3 a volume has a feature level, by which its data changes from then on. Earlier formats are not read. */
const FORMAT = 3;

/** Whose data a directory holds. */
export interface Identity {
  readonly volume: string;
  readonly region: string;
  readonly member: number;
}

export interface DataDirectory {
  readonly log: LevelLog;
  readonly state: StateStore;
}

/**
 * A member's data: `identity.json`, `log/`, `state-N/` and the file `STATE` that names N. Only its owner may enter it.
 * Close both stores (a Group closes its log and its machine).
 * @throws UserError for a directory that belongs to another volume, region or member, has another format, or is in use.
 */
export async function openDataDirectory(
  path: string,
  identity: Identity,
  options?: StateStoreOptions,
): Promise<DataDirectory> {
  await makeDirectory(path);
  await checkIdentity(path, identity);
  await narrow(path);
  const log = await LevelLog.open(join(path, "log"));
  try {
    const generation = await readStatePointer(path);
    await removeOtherStates(path, generation);
    const state = await StateStore.open(path, generation, options);
    await syncDirectory(path);
    return { log, state };
  } catch (error) {
    await log.close();
    throw error;
  }
}

async function makeDirectory(path: string): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true });
    if (first === undefined) return;
    for (let made = resolve(path); made !== dirname(resolve(first)); made = dirname(made)) {
      await syncDirectory(dirname(made)); // makes its name durable
    }
  } catch (error) {
    throw new UserError(`cannot create the data directory ${path}: ${(error as Error).message}`, 2, { cause: error });
  }
}

/** Lets only the owner in. A directory of another user keeps its mode (a volume of Kubernetes is root's): the files have theirs. */
async function narrow(path: string): Promise<void> {
  await chmod(path, PRIVATE_DIRECTORY).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EPERM") throw new UserError(`cannot change the mode of ${path}: ${error.message}`, 2);
  });
}

async function checkIdentity(path: string, identity: Identity): Promise<void> {
  const text = await readIfPresent(path, IDENTITY);
  if (text === undefined) {
    await refuseStrangeDirectory(path);
    await replaceFile(path, IDENTITY, `${JSON.stringify({ format: FORMAT, ...identity })}\n`);
    return;
  }
  const found = parseIdentity(path, text);
  if (found.format !== FORMAT) {
    const remedy =
      found.format > FORMAT
        ? "use a newer program"
        : "copy the files out with the program that wrote them, into a volume with empty data directories";
    throw new UserError(`${path} has data format ${found.format}, and this program supports ${FORMAT}: ${remedy}`, 2);
  }
  for (const name of ["volume", "region", "member"] as const) {
    if (found[name] !== identity[name])
      throw new UserError(
        `${path} holds the data of ${name} ${found[name]}, not of ${identity[name]}: choose another directory`,
        2,
      );
  }
}

function parseIdentity(path: string, text: string): Identity & { format: number } {
  try {
    const found = JSON.parse(text);
    if (typeof found.format === "number") return found;
  } catch {}
  throw new UserError(`${join(path, IDENTITY)} is damaged: the directory cannot be trusted: choose another`, 2);
}

/**
 * Without an identity the directory must be empty, or hold only what an interrupted first start left: it may be someone
 * else's.
 */
async function refuseStrangeDirectory(path: string): Promise<void> {
  const names = (await readdir(path)).filter((name) => name !== `${IDENTITY}.new` && name !== "lost+found");
  if (names.length > 0)
    throw new UserError(`${path} is not empty and holds no mirrorfs data (${names[0]}): choose an empty directory`, 2);
}

async function readStatePointer(path: string): Promise<number> {
  const text = await readIfPresent(path, STATE_POINTER);
  if (text === undefined) return 1;
  const generation = Number(text.trim());
  if (!Number.isSafeInteger(generation) || generation < 1)
    throw new StorageError(`${join(path, STATE_POINTER)} is damaged`, `it reads ${JSON.stringify(text)}`);
  return generation;
}

/** Removes what an interrupted or completed restore left behind. */
async function removeOtherStates(path: string, generation: number): Promise<void> {
  for (const name of await readdir(path)) {
    if (/^state-\d+$/.test(name) && name !== `state-${generation}`) await rm(join(path, name), { recursive: true });
  }
}

async function readIfPresent(path: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(path, name), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StorageError(`cannot read ${join(path, name)}`, error);
  }
}
