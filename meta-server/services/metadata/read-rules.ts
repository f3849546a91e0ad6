/**
 * The rules of reads as a total table: what must be proven before this server may answer a read from its own state, by its
 * place and by the freshness that the client asks for. Pure functions; read-gate.ts asks and waits.
 */
import { compareVersions, type Version } from "../../../core/ids.ts";
import { Freshness } from "../../../proto/generated/metadata.ts";
import type { Role } from "../../machine/machine.ts";

/** `unreachable`: the primary could not be asked; the client may use the state that is here, and is informed. */
export type Passage = "read" | "unreachable" | "behind" | "not-leader";

/** The role of the region, at its leader. */
export type Place = Role | "not-leader";

export type Asked = "committed" | "token";

export type Proof =
  /** Nothing can be proven here: the client asks the leader. */
  | "none"
  /** A majority of the group confirms that this server leads it. */
  | "leadership"
  /** This region has applied the client's token. */
  | "token"
  /** This region has applied what the primary has committed. */
  | "primary's commit"
  /** The next epoch may have begun elsewhere: the read waits until this region knows, and is judged again. */
  | "next epoch";

export const PROOFS: { readonly [P in Place]: { readonly [A in Asked]: Proof } } = {
  "not-leader": { committed: "none", token: "none" },
  unformatted: { committed: "leadership", token: "leadership" },
  primary: { committed: "leadership", token: "leadership" },
  sealed: { committed: "next epoch", token: "leadership" },
  fenced: { committed: "primary's commit", token: "token" },
  mirror: { committed: "primary's commit", token: "token" },
};

/** An unknown value counts as the strictest. */
export function askedFor(freshness: Freshness): Asked {
  return freshness === Freshness.TOKEN ? "token" : "committed";
}

/** The passage once the group has answered whether this server leads it. `mayBeDeposed`: its epoch may have ended unnoticed. */
export function afterLeadership(
  at: { readonly version: Version; readonly mayBeDeposed: boolean },
  confirmed: boolean,
  atLeast: Version | undefined,
): Passage {
  if (!confirmed) return "not-leader";
  if (atLeast !== undefined && compareVersions(at.version, atLeast) < 0) return "behind";
  return at.mayBeDeposed ? "unreachable" : "read";
}

/** The version that must be applied here first (undefined: none), whether the read waits for it, and its passage then. */
export interface Condition {
  readonly applied: Version | undefined;
  readonly isAwaited: boolean;
  readonly passage: Passage;
}

export function tokenCondition(atLeast: Version | undefined): Condition {
  return { applied: atLeast, isAwaited: true, passage: "read" };
}

/** `committed` is the primary's answer, undefined if it could not be asked. */
export function commitCondition(committed: Version | undefined, atLeast: Version | undefined): Condition {
  if (committed === undefined) return { applied: atLeast, isAwaited: false, passage: "unreachable" };
  return { applied: newest(committed, atLeast), isAwaited: true, passage: "read" };
}

function newest(a: Version, b: Version | undefined): Version {
  return b !== undefined && compareVersions(b, a) > 0 ? b : a;
}
