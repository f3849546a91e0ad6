import type { Handlers } from "../handlers.ts";
import { attributeHandlers } from "./attributes.ts";
import { directoryHandlers } from "./directories.ts";
import { xattrHandlers } from "./extended-attributes.ts";
import { fileHandlers } from "./files.ts";
import { lockHandlers } from "./locks.ts";
import type { MountState } from "./mount-state.ts";
import { nameHandlers } from "./names.ts";

/** The file system: implements every request of client/volume/handlers.ts. */
export function fileSystem(state: MountState): Handlers {
  const { releases, ...locks } = lockHandlers(state);
  return {
    ...nameHandlers(state),
    ...attributeHandlers(state),
    ...xattrHandlers(state),
    ...fileHandlers(state, releases),
    ...directoryHandlers(state),
    ...locks,
    destroy() {},
  };
}
