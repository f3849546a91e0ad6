/**
 * The feature level of a volume decides which kinds of command, encodings and rules its changelog may have. A server knows all
 * levels up to FEATURE_LEVEL. A rule that changes is a new level too: an entry is applied by the rule of the level at which it
 * was committed, for ever.
 *
 * | level | brings |
 * |---|---|
 * | 1 | the first version with levels |
 */
export const FEATURE_LEVEL = 1;
