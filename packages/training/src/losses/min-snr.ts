import type { NoiseLevel } from '@mezzotint/core';

/**
 * Min-SNR weights (Hang et al. 2023, section 3.4): every loss counts as min(SNR, gamma) times the x0 error, with
 * SNR = alpha^2 / sigma^2. `eps`, `x0` and `v` are the weights of the losses of these names; the paper's gamma is 5.
 */
export function minSnr(gamma = 5): Readonly<Record<'eps' | 'x0' | 'v', (level: NoiseLevel) => number>> {
  // ||eps error||^2 = SNR ||x0 error||^2 and ||v error||^2 = (SNR + 1) ||x0 error||^2, written so that SNR may be infinite.
  const inverse = ({ alpha, sigma }: NoiseLevel) => (sigma / alpha) ** 2;
  return {
    eps: (level) => Math.min(1, gamma * inverse(level)),
    x0: (level) => Math.min(1 / inverse(level), gamma),
    v: (level) => {
      const i = inverse(level);
      return i === Number.POSITIVE_INFINITY ? 0 : Math.min(1, gamma * i) / (1 + i);
    },
  };
}
