import { parseArgs } from "node:util";
import { table } from "../../bin/text.ts";
import { type FilesSizes, files } from "./files.ts";
import { metadata } from "./metadata.ts";
import { mirror } from "./mirror.ts";
import { mount } from "./mount.ts";
import type { Row } from "./row.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  // How long creates are measured; docs/BENCHMARKS.md has the numbers of the default.
  options: {
    json: { type: "boolean", default: false },
    seconds: { type: "string", default: "30" },
    // Whether everything runs, in minutes: no figure of such a run means anything.
    small: { type: "boolean", default: false },
  },
});
const WHOLE: FilesSizes = { files: 400, tree: "zod", randomMib: 1_024, randomSeconds: 30 };
const SMALL: FilesSizes = { files: 40, tree: "commander", randomMib: 32, randomSeconds: 3 };
const seconds = Number(values.seconds);
const GROUPS: Readonly<Record<string, () => Promise<Row[]>>> = {
  metadata: () => metadata({ createMs: seconds * 1_000 }),
  mirror: () => mirror({ smallFiles: values.small ? 20 : 200 }),
  mount: () => mount({ fileMib: values.small ? 64 : 1_024 }),
  files: () => files(values.small ? SMALL : WHOLE),
};

const unknown = positionals.find((name) => !Object.hasOwn(GROUPS, name));
if (unknown !== undefined) {
  process.stderr.write(`bench: no group '${unknown}' (groups: ${Object.keys(GROUPS).join(", ")})\n`);
  process.exit(2);
}

if (!(seconds > 0)) {
  process.stderr.write(`bench: --seconds ${values.seconds}: must be a number above 0\n`);
  process.exit(2);
}

const rows: Row[] = [];
for (const [name, measure] of Object.entries(GROUPS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  if (!values.json) process.stderr.write(`${name} …\n`);
  rows.push(...(await measure()));
}
process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : asTable(rows));
process.exit();

function asTable(rows: readonly Row[]): string {
  const cells = rows.map((it) => [
    it.id,
    String(it.value),
    it.unit,
    String(it.baseline ?? ""),
    it.slower === null ? "" : `${it.slower} ×`,
    String(it.aim ?? ""),
    met(it),
  ]);
  return table(["id", "value", "unit", "baseline", "slower", "aim", "met"], cells);
}

function met(row: Row): string {
  return row.met === null ? "" : row.met ? "yes" : "no";
}
