export function toLevelKey(key: string): Uint8Array {
  return Buffer.from(key, "latin1");
}

export function fromLevelKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
