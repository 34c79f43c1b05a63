import type { NoiseLevel } from '@mezzotint/core';

/** What a network F predicts, as three numbers: D(x) = skip x + output F(input x). */
export interface Readout {
  /** Scales x to what the network was trained on. */
  readonly input: number;
  readonly skip: number;
  readonly output: number;
}

/**
 * The readout of a kind of network at any level x = alpha x0 + sigma eps of any table: a network trained on a
 * variance-preserving chain can be solved in the variance-exploding form, and so on.
 */
export type Parameterisation = (at: NoiseLevel) => Readout;

/** F is the noise: D = (x - sigma F) / alpha, F fed with x / sqrt(alpha^2 + sigma^2). DDPM, section 3.2. */
export const epsilon: Parameterisation = ({ alpha, sigma }) => ({
  input: 1 / Math.hypot(alpha, sigma),
  skip: 1 / alpha,
  output: -sigma / alpha,
});

/** F is the clean image: D = F, F fed with x / sqrt(alpha^2 + sigma^2). */
export const x0: Parameterisation = ({ alpha, sigma }) => ({ input: 1 / Math.hypot(alpha, sigma), skip: 0, output: 1 });

/**
 * F is v = alpha eps - sigma x0 of the variance-preserving form: D = alpha x - sigma F there. Salimans & Ho 2022,
 * appendix D.
 */
export const vPrediction: Parameterisation = ({ alpha, sigma }) => {
  const norm = Math.hypot(alpha, sigma);
  return { input: 1 / norm, skip: alpha / norm ** 2, output: -sigma / norm };
};

/**
 * F is the velocity eps - x0 of the straight path x = (1 - s) x0 + s eps: D = x - s F there. Rectified flow (Liu et al.
 * 2022); SD3, FLUX.
 */
export const flow: Parameterisation = ({ alpha, sigma }) => {
  const sum = alpha + sigma;
  return { input: 1 / sum, skip: 1 / sum, output: -sigma / sum };
};

/**
 * EDM: D(y; r) = c_skip y + c_out F(c_in y) on y = x / alpha, r = sigma / alpha. Karras et al. 2022, table 1.
 *
 * @param options sigmaData, standard deviation of the data; 0.5
 */
export function edm({ sigmaData = 0.5 }: { readonly sigmaData?: number } = {}): Parameterisation {
  return ({ alpha, sigma }) => {
    const total = Math.hypot(sigma, alpha * sigmaData);
    // c_in / alpha, c_skip / alpha and c_out with r = sigma / alpha; finite at alpha = 0 too.
    return {
      input: 1 / total,
      skip: (alpha * sigmaData ** 2) / total ** 2,
      output: (sigma * sigmaData) / total,
    };
  };
}

/** F is EDM's D itself, with its preconditioning inside: D = F, F fed with x / alpha and told sigma / alpha. */
export const selfPreconditioned: Parameterisation = ({ alpha }) => ({ input: 1 / alpha, skip: 0, output: 1 });

/**
 * One network's prediction as another kind of network would have given it: G = a x + b F, with both scaled as their
 * parameterisations ask. From D = skip x + output F of both. For comparing networks, and for distillation.
 *
 * @returns the two weights at a level; not finite where the second kind says nothing
 */
export function convertPrediction(
  from: Parameterisation,
  to: Parameterisation,
): (at: NoiseLevel) => { readonly x: number; readonly prediction: number } {
  return (at) => {
    const [f, g] = [from(at), to(at)];
    return { x: (f.skip - g.skip) / g.output, prediction: f.output / g.output };
  };
}
