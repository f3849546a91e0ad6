/** Checks the clients' requests before any handler sees them. */
import { XATTR_VALUE_BYTES_MAX } from "../../../core/ids.ts";
import type { Hello, Request, WireVersion } from "../../../proto/generated/metadata.ts";

type Body = NonNullable<Request["body"]>;
type Kind = Body["$case"];
type BodyOf<K extends Kind> = Extract<Body, { $case: K }>["value"];

/** The longest name or path that a kernel can send. */
const TEXT_BYTES_MAX = XATTR_VALUE_BYTES_MAX;
/** Bound of a chunk's index: sums with it remain exact integers. */
const COUNT_MAX = 2 ** 32;

/** Numbers are doubles on the wire. Ids are the non-negative integers that a double holds exactly. */
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

const valid: { readonly [K in Kind]: (body: BodyOf<K>, session: number) => boolean } = {
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

/** Why a request is invalid, in one line; undefined if it is valid. Handlers rely on it. */
export function requestError({ atLeast, body }: Request, session: number): string | undefined {
  if (body === undefined) return "a request of unknown kind";
  const isValid = (valid[body.$case] as (value: unknown, session: number) => boolean)(body.value, session);
  return isValid && isVersion(atLeast) ? undefined : `a ${body.$case} request with an invalid number or name`;
}

/** Why a hello is invalid, in one line; undefined if it is valid. */
export function helloError({ session, seen, open }: Hello): string | undefined {
  const isValid = isId(session) && isVersion(seen) && open.every(({ inode }) => isId(inode));
  return isValid ? undefined : "a hello with an invalid number";
}
