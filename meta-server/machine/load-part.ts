/**
 * A key and its value. Pairs are encoded one after the other in a bootstrap's entries and in a snapshot's parts: the lengths
 * of key and value in 4 bytes each, then the key, one byte a character, and the value.
 */
export type Pair = readonly [string, Uint8Array];

interface Load {
  readonly generation: number;
  readonly nowMs: number;
  readonly pairs: readonly Pair[];
}

const LOAD_HEADER_BYTES = 12;
const PAIR_HEADER_BYTES = 8;

export function encodeLoad(load: Load): Buffer {
  const header = Buffer.allocUnsafe(LOAD_HEADER_BYTES);
  header.writeUInt32BE(load.generation, 0);
  header.writeDoubleBE(load.nowMs, 4);
  return Buffer.concat([header, encodePairs(load.pairs)]);
}

export function decodeLoad(bytes: Buffer): Load {
  const pairs = decodePairs(bytes.subarray(LOAD_HEADER_BYTES));
  return { generation: bytes.readUInt32BE(0), nowMs: bytes.readDoubleBE(4), pairs };
}

export function encodePairs(pairs: readonly Pair[]): Buffer {
  let total = 0;
  for (const [key, value] of pairs) total += PAIR_HEADER_BYTES + key.length + value.length;
  const bytes = Buffer.allocUnsafe(total);
  let at = 0;
  for (const [key, value] of pairs) {
    at = bytes.writeUInt32BE(key.length, at);
    at = bytes.writeUInt32BE(value.length, at);
    at += bytes.write(key, at, "latin1");
    bytes.set(value, at);
    at += value.length;
  }
  return bytes;
}

/** @throws RangeError for bytes that are not whole pairs */
export function decodePairs(bytes: Buffer): Pair[] {
  const pairs: Pair[] = [];
  let at = 0;
  while (at < bytes.length) {
    const keyBytes = bytes.readUInt32BE(at);
    const valueBytes = bytes.readUInt32BE(at + 4);
    const keyAt = at + PAIR_HEADER_BYTES;
    const valueAt = keyAt + keyBytes;
    if (valueAt + valueBytes > bytes.length) throw new RangeError("a part of a snapshot is truncated");
    pairs.push([bytes.toString("latin1", keyAt, valueAt), bytes.subarray(valueAt, valueAt + valueBytes)]);
    at = valueAt + valueBytes;
  }
  return pairs;
}
