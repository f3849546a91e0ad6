import { describe, expect, it } from "vitest";
import { sourceFiles } from "./source-files.ts";

const files = sourceFiles();

const LIBRARY = ["core/", "base/", "proto/", "config/"];

/** What each room may import, beside itself; the longest prefix counts. Packages are another matter (below). */
const ROOMS: Record<string, readonly string[]> = {
  "core/": [],
  "base/": [],
  "proto/": ["core/", "base/"],
  "config/": ["core/", "base/", "proto/"],
  "object-store/": ["core/", "base/", "proto/"],
  "consensus/": ["base/", "proto/"],
  "consensus/raft/": [],
  "meta-server/storage/": [...LIBRARY, "consensus/"],
  "meta-server/machine/": [...LIBRARY, "consensus/", "meta-server/storage/"],
  "meta-server/region/": [...LIBRARY, "consensus/", "meta-server/storage/", "meta-server/machine/"],
  "meta-server/roles/": [...LIBRARY, "consensus/", "meta-server/machine/", "meta-server/region/"],
  "meta-server/services/": [
    ...LIBRARY,
    "consensus/",
    "meta-server/machine/",
    "meta-server/region/",
    "meta-server/roles/",
  ],
  "meta-server/": [...LIBRARY, "consensus/"],
  "mirror-agent/": [...LIBRARY, "object-store/"],
  "client/": ["core/", "base/", "proto/", "config/", "object-store/"],
  "client/fuse/": ["core/", "base/", "client/volume/handlers.ts"],
  "admin/": LIBRARY,
  "sandbox/": ["core/", "base/"],
  "bin/": [
    ...LIBRARY,
    "object-store/",
    "admin/",
    "meta-server/main.ts",
    "mirror-agent/main.ts",
    "client/mount/main.ts",
    "sandbox/",
  ],
  "test/": [""],
};

/** A vendor has one door: the folder or the file where it may be imported. */
const DOORS: Record<string, readonly string[]> = {
  "classic-level": ["meta-server/storage/"],
  "@aws-sdk/client-s3": ["object-store/s3.ts"],
  "@google-cloud/storage": ["object-store/gs.ts"],
  bullmq: ["mirror-agent/queue.ts"],
  commander: ["bin/"],
  yaml: ["config/volume-file.ts", "sandbox/"],
  zod: ["config/volume-file.ts", "client/volume/options.ts"],
};

/** Rooms whose code is a function of its input alone. */
const PURE = ["core/", "consensus/raft/"];
const PURE_PACKAGES = new Set(["node:assert", "node:assert/strict", "lru-cache"]);

describe("a room imports only what the house allows", () => {
  for (const room of Object.keys(ROOMS)) {
    it(room, () => {
      const wrong = files
        .filter((file) => roomOf(file.path) === room)
        .flatMap((file) =>
          file.imports
            .filter((name) => isOwnFile(name) && !mayImport(room, name))
            .map((name) => `${file.path} -> ${name}`),
        );
      expect(wrong).toEqual([]);
    });
  }

  it("every file belongs to a room", () => {
    expect(files.map((file) => file.path).filter((path) => path.includes("/") && roomOf(path) === undefined)).toEqual(
      [],
    );
  });
});

describe("a vendor has one door", () => {
  for (const [vendor, doors] of Object.entries(DOORS)) {
    it(vendor, () => {
      const users = files.filter((file) => file.imports.includes(vendor) && !file.path.startsWith("test/"));
      expect(users.map((file) => file.path).filter((path) => !doors.some((door) => path.startsWith(door)))).toEqual([]);
    });
  }
});

describe("a pure room stays pure", () => {
  for (const room of PURE) {
    const inside = files.filter((file) => file.path.startsWith(room));

    it(`${room} imports no package that touches the world`, () => {
      const wrong = inside.flatMap((file) =>
        file.imports
          .filter((name) => !isOwnFile(name) && !PURE_PACKAGES.has(name))
          .map((name) => `${file.path} -> ${name}`),
      );
      expect(wrong).toEqual([]);
    });

    it(`${room} reads no clock, draws no number, knows no process`, () => {
      const world =
        /\b(Date\.now|new Date\(\)|performance\.|Math\.random|process\.|setTimeout|setInterval|setImmediate|console\.)/;
      expect(inside.filter((file) => world.test(withoutComments(file.text))).map((file) => file.path)).toEqual([]);
    });
  }
});

it("the environment and the arguments are read in bin/ and in main files alone", () => {
  const readers = files.filter((file) => /\bprocess\.(env[.[]|argv)/.test(withoutComments(file.text)));
  const wrong = readers
    .map((file) => file.path)
    .filter((path) => !/^(bin|test)\/|(^|\/)main\.ts$|\.config\.ts$/.test(path));
  expect(wrong).toEqual([]);
});

function roomOf(path: string): string | undefined {
  return Object.keys(ROOMS)
    .filter((room) => path.startsWith(room))
    .reduce<string | undefined>((longest, room) => (room.length > (longest?.length ?? 0) ? room : longest), undefined);
}

function mayImport(room: string, name: string): boolean {
  const home = Object.keys(ROOMS).some((other) => other !== room && other.startsWith(room) && name.startsWith(other));
  // A room may use the rooms inside it; a room inside another may not use that.
  return home || name.startsWith(room) || ROOMS[room]!.some((allowed) => name.startsWith(allowed));
}

function isOwnFile(name: string): boolean {
  return name.endsWith(".ts") || name.endsWith(".json");
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
}
