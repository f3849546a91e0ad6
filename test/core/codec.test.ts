import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CodeTable } from "../../core/codec/bytes.ts";
import {
  CodecError,
  decodeAttributes,
  decodeChunk,
  decodeCommand,
  decodeEntry,
  decodeOutcome,
  decodeSlice,
  encodeAttributes,
  encodeChunk,
  encodeCommand,
  encodeFollowed,
  encodeOutcome,
  encodeProposed,
  encodeSlice,
} from "../../core/codec.ts";
import { COMMANDS, type Command } from "../../core/commands.ts";
import { attributes, command, id, outcome, slice, stamp, version } from "./arbitraries.ts";

const chunk = fc.record({
  revision: fc.maxSafeNat(),
  segments: fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("inline" as const), offset: fc.nat(), data: fc.uint8Array({ maxLength: 40 }) }),
      fc.record({
        kind: fc.constant("slice" as const),
        offset: fc.nat(),
        length: fc.nat(),
        slice: id<never>(),
        sliceOffset: fc.nat(),
      }),
    ),
    { maxLength: 6 },
  ),
});

const slices = fc
  .record({
    slice,
    references: fc.maxSafeNat(),
    state: fc.constantFrom("kept", "lost" as const),
    copies: fc.nat(2 ** 16 - 1) as unknown as fc.Arbitrary<never>,
  })
  .map(({ slice, ...record }) => ({ ...slice, ...record }));

describe("decoding returns what was encoded", () => {
  test("commands", () => {
    fc.assert(
      fc.property(command, (value) => {
        expect(decodeCommand(encodeCommand(value))).toEqual(value);
      }),
      { numRuns: 3000 },
    );
  });

  test("outcomes, attributes, slices, chunks", () => {
    fc.assert(
      fc.property(outcome, attributes, slices, chunk, (o, a, s, c) => {
        expect(decodeOutcome(encodeOutcome(o))).toEqual(o);
        expect(decodeAttributes(encodeAttributes(a))).toEqual(a);
        expect(decodeSlice(encodeSlice(s))).toEqual(s);
        expect(decodeChunk(encodeChunk(c))).toEqual(c);
      }),
      { numRuns: 500 },
    );
  });

  test("entries: a followed entry has the body of the proposed one, byte for byte", () => {
    fc.assert(
      fc.property(stamp, command, version, (stamp, command, previous) => {
        const proposed = decodeEntry(encodeProposed(stamp, encodeCommand(command)));
        expect(proposed).toMatchObject({ type: "proposed", stamp, command });
        const followed = decodeEntry(encodeFollowed(previous, proposed.body));
        expect(followed).toMatchObject({ type: "followed", previous, stamp, command });
        expect(followed.body).toEqual(proposed.body);
      }),
    );
  });
});

describe("malformed bytes are a CodecError", () => {
  const decoders = [decodeCommand, decodeEntry, decodeOutcome, decodeAttributes, decodeSlice, decodeChunk] as const;

  /** Fails on any exception but a CodecError. */
  function isAccepted(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
    try {
      decode(bytes);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(CodecError);
      return false;
    }
  }

  test("random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        if (bytes.length > 0) bytes[0] = (bytes[0]! % 2) + 1;
        for (const decode of decoders) isAccepted(decode, bytes);
      }),
      { numRuns: 5000 },
    );
  });

  test("one byte changed, the end cut off, or a byte added", () => {
    fc.assert(
      fc.property(command, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, where, change) => {
        const bytes = encodeCommand(value);
        const changed = bytes.slice();
        changed[where % bytes.length]! ^= change;
        isAccepted(decodeCommand, changed);
        expect(isAccepted(decodeCommand, bytes.subarray(0, where % bytes.length))).toBe(false);
        expect(isAccepted(decodeCommand, new Uint8Array([...bytes, change]))).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  test("a count of items that exceeds the remaining bytes is refused before anything is allocated", () => {
    const write = encodeCommand({ kind: "write", inode: 5 as never, extents: [] });
    const count = [0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    const oversized = new Uint8Array([...write.subarray(0, 3), ...count, ...write.subarray(4)]);
    expect(() => decodeCommand(oversized)).toThrow(/items do not fit in the remaining bytes/);
  });

  test("the message names what was read and where", () => {
    expect(() => decodeCommand(new Uint8Array([9]))).toThrow("command: unknown format 9, expected 1 (at byte 1 of 1)");
    expect(() => decodeEntry(new Uint8Array([3, 1]))).toThrow(/entry: type 3/);
  });
});

describe("codes", () => {
  test("codes are unique", () => {
    const codes = Object.values(COMMANDS).map((traits) => traits.code);
    expect(new Set(codes).size).toBe(codes.length);
    expect(() => new CodeTable({ a: 0, b: 0 })).toThrow(/same code/);
  });

  test("codes never change: stored logs and states contain them", () => {
    const codes = Object.entries(COMMANDS).map(([kind, { code }]) => `${code} ${kind}`);
    expect(codes.join(", ")).toBe(
      "0 format, 1 beginEpoch, 2 seal, 3 regionProgress, 4 openSession, 5 closeSession, 6 grantSlices, 7 make, 8 link, " +
        "9 unlink, 10 rmdir, 11 rename, 12 setattr, 13 write, 14 fallocate, 15 setxattr, 16 removexattr, 17 lock, 18 reap, " +
        "19 setFeatures",
    );
    fc.assert(
      fc.property(command, (value) => {
        expect(encodeCommand(value)[1]).toBe(COMMANDS[value.kind].code);
      }),
    );
  });
});

test("values without an encoding are refused", () => {
  const make = {
    kind: "make",
    parent: 1,
    name: "a",
    inodeKind: "file",
    mode: 0,
    uid: 0,
    gid: 0,
    device: 0,
    target: "",
  };
  const encode = (change: object) => () => encodeCommand({ ...make, ...change } as unknown as Command);
  expect(encode({})).not.toThrow();
  for (const mode of [-1, 1.5, Number.NaN, 2 ** 53]) expect(encode({ mode })).toThrow(CodecError);
  expect(encode({ name: "\u0100" })).toThrow(CodecError);
  expect(encode({ kind: "seal", to: 16 })).toThrow(CodecError);
  expect(encode({ kind: "beginEpoch", epoch: 15, how: "forced" })).toThrow(CodecError);
  expect(encode({ kind: "format", uuid: "u", volume: "v", regions: ["a"], primary: 1, features: 1 })).toThrow(
    CodecError,
  );
  expect(encode({ kind: "format", uuid: "u", volume: "v", regions: ["a"], primary: 0, features: 0 })).toThrow(
    CodecError,
  );
});
