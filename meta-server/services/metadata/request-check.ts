import { XATTR_VALUE_BYTES_MAX } from "../../../core/ids.ts";
import type { Hello, Request, WireVersion } from "../../../proto/generated/metadata.ts";

type Body = NonNullable<Request["body"]>;
type Kind = Body["$case"];
type BodyOf<K extends Kind> = Extract<Body, { $case: K }>["value"];

/** Beyond it neither a name nor a path that the kernel could have brought. */
const TEXT_BYTES_MAX = XATTR_VALUE_BYTES_MAX;
/** Of chunks: so that what is counted on from a first one stays exact. */
const COUNT_MAX = 2 ** 32;

/** Numbers are doubles on the wire: fractions, negatives and what is too large to be counted on from are no ids. */
function isId(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function areIds(...values: number[]): boolean {
  return values.every(isId);
}

function isVersion(version: WireVersion | undefined): boolean {
  return version === undefined || areIds(version.epoch, version.sequence);
}

function isText(text: Uint8Array | string): boolean {
  return text.length <= TEXT_BYTES_MAX;
}

const sound: { readonly [K in Kind]: (body: BodyOf<K>, session: number) => boolean } = {
  mutate: ({ request, lowWater }, session) => areIds(request, lowWater) && session !== 0,
  lookup: ({ parent, name }) => isId(parent) && isText(name),
  getAttributes: ({ inode }) => isId(inode),
  readDirectory: ({ inode, after }) => isId(inode) && isText(after),
  readLink: ({ inode }) => isId(inode),
  getXattr: ({ inode, name }) => isId(inode) && isText(name),
  listXattrs: ({ inode }) => isId(inode),
  readChunks: ({ inode, first }) => areIds(inode, first) && first < COUNT_MAX,
  open: ({ inode, beliefs }) =>
    isId(inode) && beliefs.every((one) => areIds(one.parent, one.inode) && isText(one.name)),
  release: ({ inode }) => isId(inode),
  statFs: () => true,
  getLock: ({ inode, start, end }) => areIds(inode, start, end),
  keepAlive: () => true,
  resolvePath: ({ path }) => isText(path),
  wantBlocks: ({ slices }) => slices.every(isId),
  pathOf: ({ inode }) => isId(inode),
};

/** What no client of ours asks, as a line; undefined: it can be answered. No handler meets anything else. */
export function requestError({ atLeast, body }: Request, session: number): string | undefined {
  if (body === undefined) return "a request of no kind that is known here";
  const isSound = (sound[body.$case] as (value: unknown, session: number) => boolean)(body.value, session);
  return isSound && isVersion(atLeast) ? undefined : `a ${body.$case} with a number or a name that cannot be one`;
}

export function helloError({ session, seen, open }: Hello): string | undefined {
  const isSound = isId(session) && isVersion(seen) && open.every(({ inode }) => isId(inode));
  return isSound ? undefined : "a hello with a number that cannot be one";
}
