import { InvalidArgumentError } from '@mezzotint/core';

/** The decay of an average at an update, given how many were done before. 0 copies the parameters. */
export type EmaDecay = (updatesBefore: number) => number;

/** The same decay at every update. */
export function constantDecay(decay: number): EmaDecay {
  check('constantDecay', decay);
  return () => decay;
}

/** min(decay, (1 + s) / (10 + s)), and 0 at the first update: the default of diffusers' EMAModel (and of TensorFlow). */
export function ratioWarmUp(decay = 0.9999): EmaDecay {
  check('ratioWarmUp', decay);
  return (s) => (s <= 0 ? 0 : Math.min(decay, (1 + s) / (10 + s)));
}

/**
 * min(decay, 1 - (1 + s / inverseGamma)^-power), and 0 at the first update: diffusers' `use_ema_warmup`. Power 2/3 suits
 * runs of a million steps, 3/4 shorter ones.
 */
export function powerWarmUp({ decay = 0.9999, inverseGamma = 1, power = 2 / 3 } = {}): EmaDecay {
  check('powerWarmUp', decay);
  return (s) => (s <= 0 ? 0 : Math.min(decay, 1 - (1 + s / inverseGamma) ** -power));
}

function check(who: string, decay: number): void {
  if (!(decay >= 0 && decay <= 1)) throw new InvalidArgumentError(who, `the decay must be in [0, 1], got ${decay}`);
}
