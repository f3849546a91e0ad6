import { chmod, cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { UserError } from "../../../base/user-error.ts";
import { type DataDirectory, openDataDirectory } from "../../../meta-server/storage/data-directory.ts";

const identity = { volume: "v", region: "r", member: 1 };
let base: string;
let directory: string;
let data: DataDirectory;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "mirrorfs-state-"));
  directory = join(base, "data");
  data = await openDataDirectory(directory, identity);
});

afterEach(async () => {
  await close();
  await rm(base, { recursive: true });
});

async function close(): Promise<void> {
  await data.state.close().catch(() => undefined);
  await data.log.close().catch(() => undefined);
}

async function reopen(): Promise<void> {
  await close();
  data = await openDataDirectory(directory, identity);
}

const bytes = (text: string) => Buffer.from(text);
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : Buffer.from(value).toString());

test("a data directory that others may enter is narrowed at the start (defect 26)", async () => {
  await chmod(directory, 0o755);
  await reopen();
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
});

async function all(): Promise<Record<string, string>> {
  const snapshot = await data.state.snapshot();
  const found: Record<string, string> = {};
  for await (const page of snapshot.pages()) for (const [key, value] of page) found[key] = text(value)!;
  await snapshot.release();
  return found;
}

test("every kind of read sees a write at once, before and after it is on disk", async () => {
  data.state.write([
    ["a\x00\xff", bytes("1")],
    ["b", bytes("2")],
  ]);
  for (const when of ["before", "after"]) {
    expect(text(data.state.get("a\x00\xff")), when).toBe("1");
    expect((await data.state.getMany(["b", "c"])).map(text), when).toEqual(["2", undefined]);
    expect(
      (await data.state.range("a", "z", 9)).map(([key]) => key),
      when,
    ).toEqual(["a\x00\xff", "b"]);
    await data.state.flush();
  }
  data.state.write([["b", undefined]]);
  expect(data.state.get("b")).toBeUndefined();
  expect(await data.state.getMany(["b"])).toEqual([undefined]);
  expect(await data.state.range("b", "c", 9)).toEqual([]);
  await reopen();
  expect(data.state.get("b")).toBeUndefined();
});

test("keys are ordered as bytes, and pages of a range follow each other without gap or overlap, also around deletes", async () => {
  const keys = Array.from({ length: 256 }, (_, i) => `k${String.fromCharCode(i)}`);
  data.state.write(keys.map((key) => [key, bytes("old")]));
  await data.state.flush();
  data.state.write(keys.filter((_, i) => i % 3 === 0).map((key) => [key, undefined]));
  data.state.write(keys.map((key) => [`${key}+`, bytes("new")] as const));
  const expected = keys
    .flatMap((key, i) => (i % 3 === 0 ? [`${key}+`] : [key, `${key}+`]))
    .sort((a, b) => (a < b ? -1 : 1));
  const found: string[] = [];
  for (let from = "k"; ; ) {
    const page = await data.state.range(from, "l", 7);
    found.push(...page.map(([key]) => key));
    if (page.length < 7) break;
    from = `${page.at(-1)![0]}\x00`;
  }
  expect(found).toEqual(expected);
});

test("the disk always holds some prefix of the turns", async () => {
  const confirmed: number[] = [];
  let turn = 0;
  const stop = Date.now() + 1200;
  for (let copies = 0; Date.now() < stop; ) {
    for (let i = 0; i < 50; i++) {
      const own = ++turn;
      const writes = [...Array(5)].map((_, j) => [`t${own}.${j}`, bytes(String(own))] as const);
      data.state.write([...writes, ["last", bytes(String(own))]], (error) => {
        if (error === undefined) confirmed.push(own);
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (turn % 250 !== 0) continue;
    const sure = confirmed.at(-1) ?? 0;
    const copy = join(base, `copy-${copies++}`);
    await cp(directory, copy, { recursive: true });
    const then = await openDataDirectory(copy, identity);
    const last = Number(text(then.state.get("last")) ?? 0);
    expect(last).toBeGreaterThanOrEqual(sure);
    for (let own = 1; own <= last + 1; own++)
      for (let j = 0; j < 5; j++) expect(then.state.get(`t${own}.${j}`) !== undefined).toBe(own <= last);
    await then.state.close();
    await then.log.close();
  }
  expect(confirmed.length).toBeGreaterThan(0);
  expect(confirmed).toEqual(confirmed.map((_, i) => i + 1)); // confirmed in order, each once
});

test("a snapshot does not see what is written after it", async () => {
  data.state.write([...Array(3000)].map((_, i) => [`k${String(i).padStart(5, "0")}`, bytes("old")] as const));
  const snapshot = await data.state.snapshot();
  data.state.write([...Array(3000)].map((_, i) => [`k${String(i).padStart(5, "0")}`, bytes("new")] as const));
  await data.state.flush();
  let count = 0;
  for await (const page of snapshot.pages()) {
    for (const [, value] of page) expect(text(value)).toBe("old");
    count += page.length;
  }
  expect(count).toBe(3000);
  await snapshot.release();
});

test("a restore replaces everything, and the old state is removed", async () => {
  data.state.write([["old", bytes("1")]]);
  await data.state.replace(async (write) => {
    await write([["new", bytes("2")]]);
    data.state.write([["meanwhile", bytes("3")]]);
  });
  expect(await all()).toEqual({ new: "2" });
  await reopen();
  expect(await all()).toEqual({ new: "2" });
  expect((await readdir(directory)).sort()).toEqual(["STATE", "identity.json", "log", "state-2"]);
});

test("a restore that breaks off leaves the old state and no files of its own", async () => {
  data.state.write([["old", bytes("1")]]);
  const broken = data.state.replace(async (write) => {
    await write([["new", bytes("2")]]);
    throw new Error("the stream broke");
  });
  await expect(broken).rejects.toThrow("the stream broke");
  expect(await all()).toEqual({ old: "1" });
  expect((await readdir(directory)).sort()).toEqual(["identity.json", "log", "state-1"]);
});

test("a crash anywhere in a restore leaves the old state or the new one, whole", async () => {
  data.state.write([...Array(2000)].map((_, i) => [`old${i}`, bytes("1")] as const));
  await data.state.flush();
  let restoring = true;
  const replaced = data.state
    .replace(async (write) => {
      for (let i = 0; i < 20; i++) {
        await write([...Array(500)].map((_, j) => [`new${i}.${j}`, bytes("x".repeat(100))] as const));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })
    .finally(() => {
      restoring = false;
    });
  const sizes = new Set<number>();
  for (let i = 0; restoring || i < 2; i++) {
    const copy = join(base, `copy-${i}`);
    const copied = await cp(directory, copy, { recursive: true }).then(
      () => true,
      () => false, // a file was removed during the copy
    );
    if (!copied) continue;
    const then = await openDataDirectory(copy, identity).catch(() => undefined); // the copy itself may be torn
    if (then === undefined) continue;
    const olds = await then.state.range("old", "ole", 100_000);
    const news = await then.state.range("new", "nex", 100_000);
    expect([`${olds.length} 0`, `0 ${news.length}`]).toContain(`${olds.length} ${news.length}`);
    expect([2000, 10_000]).toContain(olds.length + news.length);
    sizes.add(olds.length + news.length);
    await then.state.close();
    await then.log.close();
  }
  await replaced;
  expect(sizes.has(2000)).toBe(true);
});

test("a read that fails is reported to the opener of the store, and fails at its caller", async () => {
  const key = (i: number) => `k${String(i).padStart(6, "0")}`;
  data.state.write(Array.from({ length: 20_000 }, (_, i) => [key(i), bytes(`value ${i * 7919}`)] as const));
  await reopen(); // on opening, LevelDB turns its log into a table
  await close();
  for (const name of await readdir(join(directory, "state-1"))) {
    if (!name.endsWith(".ldb")) continue;
    const table = await readFile(join(directory, "state-1", name));
    await writeFile(join(directory, "state-1", name), table.fill(0xee, 0, Math.floor(table.length / 2)));
  }
  const failures: string[] = [];
  data = await openDataDirectory(directory, identity, { onFailed: ({ message }) => failures.push(message) });
  expect(() => data.state.get(key(100))).toThrow("is unusable");
  expect(failures).toEqual([expect.stringContaining("Corruption")]);
  await expect(data.state.getMany([key(101)])).rejects.toThrow("is unusable");
  await expect(data.state.range(key(0), key(500), 1000)).rejects.toThrow("is unusable");
  expect(failures).toHaveLength(3);
});

test("leftovers of an interrupted restore go at the next start", async () => {
  data.state.write([["a", bytes("1")]]);
  await close();
  await cp(join(directory, "state-1"), join(directory, "state-7"), { recursive: true });
  data = await openDataDirectory(directory, identity);
  expect(text(data.state.get("a"))).toBe("1");
  expect(await readdir(directory)).not.toContain("state-7");
});

test("a directory of another volume, region, member or format is refused with one line", async () => {
  await close();
  const refusal = (other: object) => openDataDirectory(directory, { ...identity, ...other }).catch((error) => error);
  for (const [other, words] of [
    [{ volume: "w" }, "holds the data of volume v, not of w"],
    [{ region: "s" }, "holds the data of region r, not of s"],
    [{ member: 2 }, "holds the data of member 1, not of 2"],
  ] as const) {
    const error = await refusal(other);
    expect(error).toBeInstanceOf(UserError);
    expect(error).toMatchObject({ exitCode: 2 });
    expect(error.message).toContain(words);
  }
  await writeFile(join(directory, "identity.json"), JSON.stringify({ format: 99, ...identity }));
  expect(await refusal({})).toMatchObject({ exitCode: 2, message: expect.stringContaining("has data format 99") });
  await writeFile(join(directory, "identity.json"), "{");
  expect(await refusal({})).toMatchObject({ exitCode: 2, message: expect.stringContaining("is damaged") });
  const old = JSON.stringify({ format: 2, ...identity });
  await writeFile(join(directory, "identity.json"), old);
  expect(await refusal({})).toMatchObject({
    exitCode: 2,
    message: `${directory} has data format 2, and this program supports 3: copy the files out with the program that wrote them, into a volume with empty data directories`,
  });
  expect(await readFile(join(directory, "identity.json"), "utf8")).toBe(old);
});

test("a directory that holds other files is refused", async () => {
  const strange = join(base, "strange");
  await cp(directory, strange, { recursive: true });
  await rm(join(strange, "identity.json"));
  const error = await openDataDirectory(strange, identity).catch((e) => e);
  expect(error).toMatchObject({ exitCode: 2, message: expect.stringContaining("is not empty") });
});

test("a directory that another server has open is refused", async () => {
  const error = await openDataDirectory(directory, identity).catch((e) => e);
  expect(error).toMatchObject({ name: "UserError", message: expect.stringContaining("in use by another process") });
});

test("after a failed write its turn and every later one get the error", async () => {
  await data.state.flush();
  await data.state.close();
  const errors: (string | undefined)[] = [];
  const done = (error?: Error) => errors.push(error?.message.replace(/ in \S+ is/, " is").split(":")[0]);
  data.state.write([["a", bytes("1")]], done);
  await data.state.flush();
  data.state.write([["b", bytes("2")]], done);
  expect(errors).toEqual(Array(2).fill("the state is unusable"));
});
