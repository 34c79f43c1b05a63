import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';

/**
 * Replaces each label by the null label with probability p, so that one network learns the conditional and the
 * unconditional model. Classifier-Free Guidance (Ho and Salimans 2022), algorithm 1. Draws one uniform a label, whatever p is.
 *
 * @param labels `[N]`; not changed
 * @throws InvalidArgumentError when p is not in [0, 1]
 */
export function dropLabels(labels: Int32Array, nullLabel: number, p: number, rng: RandomStream): Int32Array {
  if (!(p >= 0 && p <= 1)) throw new InvalidArgumentError('dropLabels', `the probability must be in [0, 1], got ${p}`);
  const draws = rng.rand(labels.length);
  return labels.map((label, i) => (draws[i]! < p ? nullLabel : label));
}

/**
 * Captions for each of several text encoders, null where there is none: an example without a caption, one that loses it for all encoders
 * (probability `all`: classifier-free guidance), or one that loses it for this encoder (`each`: a model that works with encoders left out,
 * Esser et al. 2024, section 5.3.2). Draws one uniform an example, and one for each encoder, whatever the probabilities are.
 *
 * @param captions N texts, '' for none
 * @returns a list of N for each of `each`
 * @throws InvalidArgumentError when a probability is not in [0, 1]
 */
export function dropCaptions(
  captions: readonly string[],
  { all, each }: { readonly all: number; readonly each: readonly number[] },
  rng: RandomStream,
): (string | null)[][] {
  const wrong = [all, ...each].filter((p) => !(p >= 0 && p <= 1));
  if (wrong.length > 0) {
    throw new InvalidArgumentError('dropCaptions', `probabilities must be in [0, 1], got ${wrong.join(', ')}`);
  }
  const whole = rng.rand(captions.length);
  return each.map((p) => {
    const own = rng.rand(captions.length);
    return captions.map((caption, i) => (caption === '' || whole[i]! < all || own[i]! < p ? null : caption));
  });
}

/** How a caption that is a list of tags is varied. */
export interface TagOptions {
  /** What stands between tags. */
  readonly separator: string;
  /** The first tags, which stay where they are. */
  readonly keep: number;
  /** Probability with which each other tag is left out. */
  readonly dropout: number;
}

/**
 * A caption whose tags, the text between separators, are left out at random and shuffled, but for the first ones: a network that sees them in one order
 * learns that order. Draws two uniforms for each tag behind the first ones.
 *
 * @throws InvalidArgumentError for an empty separator, a `keep` below 0 or a probability that is not in [0, 1]
 */
export function shuffleTags(caption: string, { separator, keep, dropout }: TagOptions, rng: RandomStream): string {
  const problems = [
    ...(separator === '' ? ['separator: expected a text, got none'] : []),
    ...(Number.isSafeInteger(keep) && keep >= 0 ? [] : [`keep: expected a whole number from 0, got ${keep}`]),
    ...(dropout >= 0 && dropout <= 1 ? [] : [`dropout: expected a probability in [0, 1], got ${dropout}`]),
  ];
  if (problems.length > 0) throw new InvalidArgumentError('shuffleTags', problems);
  const tags = caption.split(separator);
  const rest = tags.slice(keep);
  const [drop, place] = [rng.rand(rest.length), rng.rand(rest.length)];
  const shuffled = rest
    .map((tag, i) => ({ tag, place: place[i]!, stays: drop[i]! >= dropout }))
    .filter(({ stays }) => stays)
    .sort((a, b) => a.place - b.place);
  return [...tags.slice(0, keep), ...shuffled.map(({ tag }) => tag)].join(separator);
}
