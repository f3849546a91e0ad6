import type { CommandOf, Outcome } from "./commands.ts";
import { type Context, DONE, fail, type Handlers } from "./context.ts";
import { grantSlices } from "./grants.ts";
import { releaseLocksOfSession } from "./locks.ts";
import { dropOutcomes } from "./requests.ts";

const CLIENT_CHARACTERS_MAX = 255;

export const sessionHandlers: Handlers<"openSession" | "closeSession" | "grantSlices"> = {
  openSession,
  closeSession,
  grantSlices,
};

/** Idempotent. EEXIST: another client has this id; the client draws another one. EINVAL: id 0, or too long a client name. */
function openSession(context: Context, command: CommandOf<"openSession">): Outcome {
  const { tree } = context;
  const { session, client, region } = command;
  if (session === 0 || client.length > CLIENT_CHARACTERS_MAX) return fail("EINVAL");
  const existing = tree.session(session);
  if (existing !== undefined) return existing.client === client ? DONE : fail("EEXIST");
  tree.putSession(session, { client, region, lowWater: 1, highest: 0, granted: [] });
  return DONE;
}

/** Releases the session's locks, and drops its grants and kept outcomes. Idempotent. */
function closeSession(context: Context, command: CommandOf<"closeSession">): Outcome {
  const { tree } = context;
  const session = tree.session(command.session);
  if (session === undefined) return DONE;
  releaseLocksOfSession(context, command.session);
  dropOutcomes(tree, command.session, session);
  for (const range of session.granted) context.effects.revoke(range);
  tree.putSession(command.session, undefined);
  return DONE;
}
