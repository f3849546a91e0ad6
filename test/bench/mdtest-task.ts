/** One task of mdtest.ts, as a process: works on the files of its own directory, one after the other, and one phase at a time. */
import { closeSync, mkdirSync, openSync, readSync, statSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { PhaseOrder } from "./mdtest.ts";

/** What mdtest writes to each file where small files are to be slow: mdtest-hard of IO500. */
const FILE_BYTES = 3_901;
const content = Buffer.alloc(FILE_BYTES, "mirrorfs");
const read = Buffer.alloc(FILE_BYTES);

const PHASES: { readonly [P in PhaseOrder["phase"]]: (path: string) => void } = {
  create: (path) => {
    const file = openSync(path, "wx");
    writeSync(file, content);
    closeSync(file);
  },
  stat: (path) => {
    const { size } = statSync(path);
    if (size !== FILE_BYTES) throw new Error(`${path} has ${size} bytes`);
  },
  read: (path) => {
    const file = openSync(path, "r");
    const bytes = readSync(file, read);
    closeSync(file);
    if (bytes !== FILE_BYTES || !read.equals(content)) throw new Error(`${path}: ${bytes} bytes, or wrong ones`);
  },
  remove: (path) => unlinkSync(path),
};

process.on("message", ({ phase, directory, files }: PhaseOrder) => {
  if (phase === "create") mkdirSync(directory, { recursive: true });
  for (let i = 0; i < files; i++) PHASES[phase](join(directory, `file.${i}`));
  process.send!("done");
});
process.send!("ready");
