import { beforeEach, expect, test } from "vitest";
import { DirectoryListing } from "../../../../client/volume/filesystem/directory-listing.ts";
import type { ByteString, Inode, Version } from "../../../../core/ids.ts";

const ENTRIES = 50_000;
const version = { epoch: 16, sequence: 1 } as Version;

let names: string[];
let listing: DirectoryListing;
let asked: number[];

beforeEach(() => {
  names = Array.from({ length: ENTRIES }, (_, i) => name(i));
  listing = new DirectoryListing();
  asked = [];
});

function name(i: number): string {
  return `n${i.toString().padStart(6, "0")}`;
}

/** Answers like a server. */
async function fetch(after: ByteString, limit: number) {
  asked.push(limit);
  const first = names.findIndex((one) => one > after);
  const page = first === -1 ? [] : names.slice(first, first + limit);
  const entries = page.map(
    (one, i) => ({ name: one as ByteString, inode: i as Inode, kind: "file", attributes: undefined }) as const,
  );
  return { version, entries, end: page.length < limit };
}

/** Reads from a place to the end. @returns the names, and the place of each */
async function readAll(from = 0): Promise<{ names: string[]; places: number[] }> {
  const found = { names: [] as string[], places: [] as number[] };
  for (let place = from; ; ) {
    const entries = await listing.from(place, 512, fetch);
    if (typeof entries === "string") throw new Error(entries);
    if (entries.length === 0) return found;
    for (const entry of entries) {
      found.names.push(entry.name);
      found.places.push(place);
      place = entry.next;
    }
  }
}

const nameAt = async (place: number) => ((await listing.from(place, 1, fetch)) as readonly { name: string }[])[0]?.name;

test("a large directory is listed in pages, each name once, and only a few pages are kept", async () => {
  const { names: found, places } = await readAll();
  expect(found).toEqual(names);
  expect(Math.max(...asked)).toBeLessThanOrEqual(4_000);
  let kept = 0;
  for (let i = ENTRIES - 1; i >= 0; i -= 100) {
    const before = asked.length;
    expect(await nameAt(places[i]!)).toBe(names[i]);
    if (asked.length === before) kept += 1;
    else break;
  }
  expect(kept).toBeLessThanOrEqual(40);
  expect(kept).toBeGreaterThan(20);
  asked = [];
  for (let i = 0; i < ENTRIES; i += 5_000) expect(await nameAt(places[i]!)).toBe(names[i]);
  expect(asked.length).toBe(10);
});

test("a place far back stays valid while names are added and removed elsewhere", async () => {
  const { places } = await readAll();
  const at = places[20_500]!;
  names = names.filter((one) => one < name(3_000) || one >= name(5_000));
  names.push(...Array.from({ length: 500 }, (_, i) => `${name(30_000)}.${i.toString().padStart(3, "0")}`));
  names.sort();
  expect(await nameAt(at)).toBe(name(20_500));
  expect((await readAll(at)).names).toEqual(names.filter((one) => one >= name(20_500)));
});

test("a page that has shrunk is followed by the next, and one that has grown lists all its earlier names", async () => {
  const { places } = await readAll();
  names = names.filter((one) => one < name(2_100) || one >= name(3_000));
  expect(await nameAt(places[2_500]!)).toBe(name(3_000));
  names.push(...Array.from({ length: 900 }, (_, i) => `${name(7_000)}.${i.toString().padStart(3, "0")}`));
  names.sort();
  const shown = new Set((await readAll(places[7_000])).names);
  expect(Array.from({ length: 2_000 }, (_, i) => name(7_000 + i)).filter((one) => !shown.has(one))).toEqual([]);
});

test("after a rewind it lists the current names; an error is returned, and the next call can succeed", async () => {
  await readAll();
  names = ["a", "b"];
  listing.rewind();
  expect((await readAll()).names).toEqual(["a", "b"]);
  listing.rewind();
  expect(await listing.from(0, 10, async () => "EIO")).toBe("EIO");
  expect((await readAll()).names).toEqual(["a", "b"]);
});
