import { mkdirSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { RegionName } from "../../sandbox/layout.ts";
import type { BenchCloud } from "./cloud.ts";
import { succeed } from "./succeed.ts";

/** Ends a region's mount and makes it again, so that it has cached nothing in memory or on its disk. */
export async function remount({ cloud }: BenchCloud, region: RegionName): Promise<void> {
  await cloud.supervisor.end(`${region}-mount`);
  rmSync(cloud.places.cache(region), { recursive: true });
  mkdirSync(cloud.places.cache(region));
  await cloud.supervisor.revive([`${region}-mount`]);
}

/**
 * Writes what is dirty and drops the kernel's pages, names and attributes, of every file system. Needs root. A mount across the
 * WAN needs this process's own proxy meanwhile.
 */
export async function dropKernelCaches(): Promise<void> {
  await succeed("sync", []);
  await writeFile("/proc/sys/vm/drop_caches", "3");
}

/** Prints each of the files of which the kernel has pages (mincore(2)), and how many. */
const PAGES_OF = `
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for root, _, names in os.walk(sys.argv[1]):
    for path in (os.path.join(root, name) for name in names):
        size = os.path.getsize(path)
        if size == 0: continue
        with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
            start = ctypes.c_char.from_buffer(mapped)
            pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
            if libc.mincore(ctypes.byref(start), ctypes.c_size_t(size), pages) != 0: raise OSError(ctypes.get_errno(), path)
            here = sum(page & 1 for page in pages)
            if here > 0: print(path, here)
            del start
`;

/** Drops the kernel's caches. @throws Error if it still has pages of a file in this directory of a local file system */
export async function dropPagesOf(directory: string): Promise<void> {
  await dropKernelCaches();
  const kept = await succeed("python3", ["-c", PAGES_OF, directory]);
  if (kept !== "") throw new Error(`the kernel still has pages of these files: ${kept}`);
}

/** Holds the agents, which would write every new block to the same disk once more, until `measure` is done. */
export async function withoutAgents<T>({ cloud }: BenchCloud, measure: () => Promise<T>): Promise<T> {
  const agents = ["aws-agent", "gcp-agent"];
  await Promise.all(agents.map((name) => cloud.supervisor.end(name)));
  try {
    return await measure();
  } finally {
    await cloud.supervisor.revive(agents);
  }
}
