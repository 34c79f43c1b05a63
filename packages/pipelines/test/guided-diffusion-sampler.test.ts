import { expect, test } from 'vitest';
import { chainOf, guidedDiffusionSampler } from '../src/families/classes/guided-diffusion-sampler.js';

/** alpha-bar of step t of a chain, from the definitions in Nichol and Dhariwal 2021 (eq. 17) and Ho et al. 2020. */
function alphaBar(betas: 'linear' | 'cosine', steps: number, t: number): number {
  const f = (u: number) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  let product = 1;
  for (let i = 0; i <= t; i++) {
    const linear = ((0.1 + (19.9 * i) / (steps - 1)) * 1) / steps;
    const cosine = Math.min(0.999, 1 - f((i + 1) / steps) / f(i / steps));
    product *= 1 - (betas === 'linear' ? linear : cosine);
  }
  return product;
}

// Flags of the READMEs of openai/guided-diffusion (22e0df8) and openai/improved-diffusion (1bc7bbb): noise_schedule, diffusion_steps,
// rescale_timesteps.
test.each([
  ['adm-64', 'cosine', 1000, 1],
  ['adm-256', 'linear', 1000, 1],
  ['adm-64-256-upsampler', 'linear', 1000, 1],
  ['iddpm-cifar10', 'cosine', 4000, 0.25],
  ['iddpm-64', 'cosine', 4000, 0.25],
  ['iddpm-64-cond', 'cosine', 4000, 1],
  ['iddpm-64-256-upsampler', 'linear', 4000, 1],
  ['iddpm-lsun-256', 'linear', 1000, 1],
  [null, 'linear', 1000, 1],
] as const)('%s is sampled on the %s chain of %i steps, told %d t', (name, betas, steps, scale) => {
  const sampler = guidedDiffusionSampler({ chain: chainOf(name), learnedVariance: true, limit: null });
  const { alpha, time } = sampler.schedule({ steps: 4 });
  const taken = [steps - 1, Math.round((2 / 3) * (steps - 1)), Math.round((steps - 1) / 3), 0];
  taken.forEach((t, i) => {
    expect(time![i]).toBe(scale * t);
    expect(alpha[i]! ** 2 / alphaBar(betas, steps, t)).toBeCloseTo(1, 9);
    expect(sampler.timeOf({ alpha: alpha[i]!, sigma: Math.sqrt(1 - alpha[i]! ** 2) })).toBeCloseTo(scale * t, 2);
  });
});

test('other betas can be asked for', () => {
  expect(chainOf('adm-64', 'linear').betas).toBe('linear');
  expect(chainOf('iddpm-64', 'linear')).toEqual({ betas: 'linear', steps: 4000, timeScale: 0.25 });
});
