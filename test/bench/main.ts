import { parseArgs } from "node:util";
import { table } from "../../bin/text.ts";
import { metadata } from "./metadata.ts";
import { mirror } from "./mirror.ts";
import { mount } from "./mount.ts";
import type { Row } from "./row.ts";

const GROUPS: Readonly<Record<string, () => Promise<Row[]>>> = { metadata, mirror, mount };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } },
});
const unknown = positionals.find((name) => !Object.hasOwn(GROUPS, name));
if (unknown !== undefined) {
  process.stderr.write(`bench: no group '${unknown}' (groups: ${Object.keys(GROUPS).join(", ")})\n`);
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
    String(it.aim ?? ""),
    met(it),
  ]);
  return table(["id", "value", "unit", "baseline", "aim", "met"], cells);
}

function met(row: Row): string {
  return row.met === null ? "" : row.met ? "yes" : "no";
}
