import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOMS, type Room } from "./rooms.ts";
import { ROOT, type SourceFile, sourceFiles } from "./source-files.ts";

const files = sourceFiles();

/** A vendor has one door: the folder or the file where it may be imported. */
const DOORS: Record<string, readonly string[]> = {
  "@node-rs/crc32": ["base/crc32c.ts", "sandbox/checksums.ts"],
  "classic-level": ["meta-server/storage/"],
  "@aws-sdk/client-s3": ["object-store/s3.ts"],
  "google-auth-library": ["object-store/gs-api.ts"],
  bullmq: ["mirror-agent/queue.ts"],
  commander: ["bin/"],
  yaml: ["config/volume-file.ts", "sandbox/"],
  zod: ["config/volume-file.ts", "client/volume/options.ts"],
};

/** Rooms whose code is a function of its input alone. */
const PURE = ["core/", "consensus/raft/"];
const PURE_PACKAGES = new Set(["node:assert", "node:assert/strict", "lru-cache"]);

describe("a room imports only what the house allows", () => {
  it.each(ROOMS)("$name", (room) => {
    const wrong = files
      .filter((file) => roomOf(file.path) === room)
      .flatMap((file) =>
        file.imports
          .filter((name) => isOwnFile(name) && !mayImport(room, name))
          .map((name) => `${file.path} -> ${name}`),
      );
    expect(wrong).toEqual([]);
  });

  it("every file belongs to a room", () => {
    expect(files.map((file) => file.path).filter((path) => path.includes("/") && roomOf(path) === undefined)).toEqual(
      [],
    );
  });

  it("the table in docs/ARCHITECTURE.md says so", () => {
    const page = readFileSync(join(ROOT, "docs/ARCHITECTURE.md"), "utf8");
    const rows = ROOMS.filter(({ name }) => name !== "test/").map(tableRow);
    expect(page).toContain(["| room | holds | may import |", "|---|---|---|", ...rows].join("\n"));
  });
});

it("no file imports itself, by whatever way round", () => {
  expect(circles(files)).toEqual([]);
});

it("finds a circle", () => {
  const file = (path: string, ...imports: string[]): SourceFile => ({ path, text: "", imports });
  expect(circles([file("a.ts", "b.ts"), file("b.ts", "c.ts"), file("c.ts", "b.ts", "d.ts"), file("d.ts")])).toEqual([
    "b.ts -> c.ts -> b.ts",
  ]);
});

describe("a vendor has one door", () => {
  for (const [vendor, doors] of Object.entries(DOORS)) {
    it(vendor, () => {
      const users = files.filter((file) => file.imports.includes(vendor) && !file.path.startsWith("test/"));
      expect(users.map((file) => file.path).filter((path) => !doors.some((door) => path.startsWith(door)))).toEqual([]);
    });
  }
});

it("only proto/credentials.ts decides how a connection is secured", () => {
  const users = files.filter(({ path, text }) => text.includes("createInsecure(") && !path.startsWith("test/"));
  expect(users.map(({ path }) => path)).toEqual(["proto/credentials.ts"]);
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

function tableRow({ name, holds, imports }: Room): string {
  return `| \`${name}\` | ${holds} | ${imports.length === 0 ? "itself" : imports.map((one) => one.replace(/\/$/, "")).join(", ")} |`;
}

/** Each circle of imports once, as a path from a file back to itself. */
function circles(of: readonly SourceFile[]): string[] {
  const imports = new Map(of.map((file) => [file.path, file.imports]));
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push([...way.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const next of imports.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const { path } of of) visit(path, []);
  return found;
}

function roomOf(path: string): Room | undefined {
  return ROOMS.filter(({ name }) => path.startsWith(name)).sort((a, b) => b.name.length - a.name.length)[0];
}

/** A room may use the rooms inside it; a room inside another may not use that. */
function mayImport(room: Room, file: string): boolean {
  const inside = ROOMS.some(({ name }) => name.startsWith(room.name) && file.startsWith(name));
  return inside || room.imports.some((allowed) => file.startsWith(allowed));
}

function isOwnFile(name: string): boolean {
  return name.endsWith(".ts") || name.endsWith(".json");
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
}
