/** Raft messages to and from protobuf. Entries are sent as the bytes in the log. */
import type { RaftMessage, WirePosition } from "../../proto/generated/raft.ts";
import { decodeEntry } from "../raft/entry.ts";
import type { LogPosition, Message } from "../raft/messages.ts";

type WireBody = NonNullable<RaftMessage["body"]>;
type BodyOf<T extends WireBody["$case"]> = Extract<WireBody, { $case: T }>["value"];
type Content<T extends Message["type"]> = Omit<Extract<Message, { type: T }>, "from" | "to" | "term">;

const toWire: { [K in Message["type"]]: (message: Extract<Message, { type: K }>) => WireBody } = {
  preVote: ({ last }) => ({ $case: "preVote", value: last }),
  preVoteResponse: ({ granted }) => ({ $case: "preVoteResponse", value: granted }),
  vote: ({ last, transfer }) => ({ $case: "vote", value: { last, transfer } }),
  voteResponse: ({ granted }) => ({ $case: "voteResponse", value: granted }),
  append: ({ previous, commit, entries }) => ({
    $case: "append",
    value: {
      previousIndex: previous.index,
      previousTerm: previous.term,
      commit,
      entries: entries.map((entry) => entry.encoded as Buffer),
    },
  }),
  appendAccepted: ({ match }) => ({ $case: "appendAccepted", value: match }),
  appendRejected: ({ rejected, hint }) => ({ $case: "appendRejected", value: { rejected, hint } }),
  heartbeat: ({ commit, committed, round }) => ({ $case: "heartbeat", value: { commit, committed, round } }),
  heartbeatResponse: ({ round }) => ({ $case: "heartbeatResponse", value: round }),
  timeoutNow: () => ({ $case: "timeoutNow", value: true }),
  notMember: ({ since }) => ({ $case: "notMember", value: since }),
  readRequest: ({ id }) => ({ $case: "readRequest", value: id }),
  readResponse: ({ id, index }) => ({ $case: "readResponse", value: { id, index } }),
};

const fromWire: { [K in WireBody["$case"]]: (value: BodyOf<K>) => Content<K> } = {
  preVote: (last) => ({ type: "preVote", last: position(last) }),
  preVoteResponse: (granted) => ({ type: "preVoteResponse", granted }),
  vote: ({ last, transfer }) => ({ type: "vote", last: position(last), transfer }),
  voteResponse: (granted) => ({ type: "voteResponse", granted }),
  append: ({ previousIndex, previousTerm, commit, entries }) => {
    const previous = position({ index: previousIndex, term: previousTerm });
    const decoded = entries.map((encoded, i) => decodeEntry(previous.index + 1 + i, encoded));
    let { term } = previous;
    for (const entry of decoded) {
      if (entry.term < term)
        throw new RangeError(`entry ${entry.index} of term ${entry.term} follows one of term ${term}`);
      term = entry.term;
    }
    return { type: "append", previous, commit: count(commit), entries: decoded };
  },
  appendAccepted: (match) => ({ type: "appendAccepted", match: count(match) }),
  appendRejected: ({ rejected, hint }) => ({
    type: "appendRejected",
    rejected: count(rejected),
    hint: position(hint),
  }),
  heartbeat: ({ commit, committed, round }) => ({
    type: "heartbeat",
    commit: count(commit),
    committed: count(committed),
    round: count(round),
  }),
  heartbeatResponse: (round) => ({ type: "heartbeatResponse", round: count(round) }),
  timeoutNow: () => ({ type: "timeoutNow" }),
  notMember: (since) => ({ type: "notMember", since: count(since) }),
  readRequest: (id) => ({ type: "readRequest", id: count(id) }),
  readResponse: ({ id, index }) => ({
    type: "readResponse",
    id: count(id),
    index: index === undefined ? undefined : count(index),
  }),
};

export function encodeMessage(message: Message): RaftMessage {
  return { term: message.term, body: (toWire[message.type] as (message: Message) => WireBody)(message) };
}

/** @throws RangeError (or Error, from an entry) for a message that no member sends */
export function decodeMessage({ term, body }: RaftMessage, from: number, to: number): Message {
  if (body === undefined) throw new RangeError("a message without a body");
  const content = (fromWire[body.$case] as (value: unknown) => Content<Message["type"]>)(body.value);
  const message = { ...content, from, to, term: count(term) } as Message;
  if (message.type === "append" && (message.entries.at(-1) ?? message.previous).term > message.term)
    throw new RangeError(`entries of a later term than their leader's term ${message.term}`);
  return message;
}

export function position(wire: WirePosition | undefined): LogPosition {
  if (wire === undefined) throw new RangeError("a position is missing");
  return { index: count(wire.index), term: count(wire.term) };
}

export function count(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not a valid index, term or count`);
  return value;
}
