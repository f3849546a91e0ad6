/**
 * The rules of reads, as a total table: what must be known before this server may answer a read from its own state, by its place and
 * by how fresh the read is to be. Pure: read-gate.ts asks and waits.
 */
import { compareVersions, type Version } from "../../../core/ids.ts";
import { Freshness } from "../../../proto/generated/metadata.ts";
import type { Role } from "../../machine/machine.ts";

/** `unreachable`: the primary could not be asked; what is here may be read as of now. */
export type Passage = "read" | "unreachable" | "behind" | "not-leader";

/** The role of the region that this server leads. */
export type Place = Role | "not-leader";

export type Asked = "committed" | "token";

export type Proof =
  /** There is none: the client asks the leader. */
  | "none"
  /** A majority of the group confirms that this server leads it. */
  | "leadership"
  /** The client's own token is applied here. */
  | "token"
  /** What the primary says that it has committed is applied here. */
  | "primary's commit"
  /** The next epoch may have begun elsewhere: this region learns whose it is, and the read is judged anew. */
  | "next epoch";

export const PROOFS: { readonly [P in Place]: { readonly [A in Asked]: Proof } } = {
  "not-leader": { committed: "none", token: "none" },
  unformatted: { committed: "leadership", token: "leadership" },
  primary: { committed: "leadership", token: "leadership" },
  sealed: { committed: "next epoch", token: "leadership" },
  fenced: { committed: "primary's commit", token: "token" },
  mirror: { committed: "primary's commit", token: "token" },
};

/** A value that is not known here is taken for the strictest. */
export function askedFor(freshness: Freshness): Asked {
  return freshness === Freshness.TOKEN ? "token" : "committed";
}

/** How a read passes once a group has answered whether this server leads it. `mayBeDeposed`: its epoch may have ended. */
export function afterLeadership(
  at: { readonly version: Version; readonly mayBeDeposed: boolean },
  confirmed: boolean,
  atLeast: Version | undefined,
): Passage {
  if (!confirmed) return "not-leader";
  if (atLeast !== undefined && compareVersions(at.version, atLeast) < 0) return "behind";
  return at.mayBeDeposed ? "unreachable" : "read";
}

/** What must be applied here first (undefined: nothing), whether that is waited for, and how the read passes then. */
export interface Condition {
  readonly applied: Version | undefined;
  readonly isAwaited: boolean;
  readonly passage: Passage;
}

export function tokenCondition(atLeast: Version | undefined): Condition {
  return { applied: atLeast, isAwaited: true, passage: "read" };
}

/** `committed` by the primary; undefined when it could not be asked. */
export function commitCondition(committed: Version | undefined, atLeast: Version | undefined): Condition {
  if (committed === undefined) return { applied: atLeast, isAwaited: false, passage: "unreachable" };
  return { applied: newest(committed, atLeast), isAwaited: true, passage: "read" };
}

function newest(a: Version, b: Version | undefined): Version {
  return b !== undefined && compareVersions(b, a) > 0 ? b : a;
}
