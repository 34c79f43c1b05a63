import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { activeHooks, type Denoiser } from '@mezzotint/core';
import {
  adaptiveProjected,
  autoguidance,
  awayFrom,
  classifierFree,
  classifierGuidance,
  clipGuidance,
  composed,
  directEstimateGuidance,
  distilledGuidance,
  dynamicThresholding,
  estimateGuidance,
  frequencyDecoupled,
  guidanceInterval,
  magnitudeAware,
  type Part,
  perpNeg,
  perturbedAttention,
  plusPlus,
  projectedMix,
  type Region,
  regional,
  selfAttention,
  skipLayer,
  smoothedEnergy,
  tangential,
  together,
  zeroStar,
} from '@mezzotint/guidance';
import { epsilon } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { assertConforms, certifyGuidance, type GuidanceClaims } from '../src/index.js';

type Guide = (d: Denoiser<number>) => Denoiser<number>;
const free = { unconditional: 0 };
const layer = {};
const layers = new Map([['block', layer]]);

/** The probe with an attention in it that hooks can reach: self-attention of the estimate's pixels, named `layer`. */
const attending =
  (guide: Guide): Guide =>
  (d) =>
    guide((x, at, cond) =>
      tf.tidy(() => {
        const estimate = d(x, at, cond);
        const hooks = activeHooks();
        if (hooks?.skips?.(layer)) return tf.clone(estimate);
        const [n, h, w, c] = x.shape;
        const tokens = tf.reshape(estimate, [n, 1, h * w, c]) as tf.Tensor4D;
        const inputs = { q: tokens, k: tokens, v: tokens, mask: undefined, scale: 1 };
        const attend = ({ q, k, v }: Partial<typeof inputs> = {}) =>
          tf.matMul(tf.softmax(tf.matMul(q ?? tokens, k ?? tokens, false, true)), v ?? tokens) as tf.Tensor4D;
        const mixed = hooks?.attention?.({ by: layer, ...inputs, attend }) ?? attend();
        return tf.add(estimate, tf.reshape(mixed, x.shape)) as tf.Tensor4D;
      }),
    );

const logProbability = (x: tf.Tensor4D) => tf.neg(tf.sum(tf.square(tf.sub(x, 0.3)), [1, 2, 3])) as tf.Tensor1D;
const mask = () => tf.tensor4d([1, 0, 1, 0], [1, 1, 4, 1]);

const guides: Readonly<Record<string, Omit<GuidanceClaims<number>, 'name' | 'cond'>>> = {
  'classifier-free': {
    guide: (d) => classifierFree(d, { scale: 3, ...free }),
    neutral: (d) => classifierFree(d, { scale: 1, ...free }),
  },
  'classifier-free, added to the conditional one': {
    guide: (d) => classifierFree(d, { scale: 3, from: 'conditional', ...free }),
    neutral: (d) => classifierFree(d, { scale: 0, from: 'conditional', ...free }),
  },
  'classifier-free, rescaled in eps': {
    guide: (d) => classifierFree(d, { scale: 3, rescale: 0.7, prediction: epsilon, ...free }),
    neutral: (d) => classifierFree(d, { scale: () => 1, rescale: 0.7, prediction: epsilon, ...free }),
  },
  interval: {
    guide: (d) => guidanceInterval(d, (e) => classifierFree(e, { scale: 3, ...free }), { low: 1.5 }),
    neutral: (d) => guidanceInterval(d, (e) => classifierFree(e, { scale: 3, ...free }), { low: 9 }),
  },
  'CFG-Zero*': {
    guide: (d) => zeroStar(d, { scale: 3, ...free }),
    neutral: (d) => zeroStar(d, { scale: 1, ...free }),
  },
  APG: {
    guide: (d) => adaptiveProjected({ scale: 3, norm: 2 }).guide(d, free),
    neutral: (d) => adaptiveProjected({ scale: 0, from: 'conditional' }).guide(d, free),
  },
  TCFG: {
    guide: (d) => tangential(d, { scale: 3, ...free }),
    neutral: (d) => tangential(d, { scale: 1, ...free }),
  },
  'frequency-decoupled': {
    guide: (d) => frequencyDecoupled(d, { scales: [5, 2], ...free }),
    neutral: (d) => frequencyDecoupled(d, { scales: [1, 1], ...free }),
  },
  'magnitude-aware': {
    guide: (d) => magnitudeAware(d, { scale: 5, ...free }),
    neutral: (d) => magnitudeAware(d, { scale: 1, ...free }),
  },
  autoguidance: {
    guide: (d) => autoguidance(d, { weaker: (x, at) => d(x, at, 0.2), scale: 2 }),
    neutral: (d) => autoguidance(d, { weaker: (x, at) => d(x, at, 0.2), scale: 1 }),
  },
  'perturbed attention': {
    guide: attending((d) => perturbedAttention(d, { scale: 3, layers })),
    keepsAgreement: false,
  },
  'smoothed energy': { guide: attending((d) => smoothedEnergy(d, { scale: 3, layers })), keepsAgreement: false },
  'skip layer': { guide: attending((d) => skipLayer(d, { scale: 3, layers })), keepsAgreement: false },
  'self-attention guidance': {
    guide: attending((d) => selfAttention(d, { scale: 0.7, layer: layers })),
    keepsAgreement: false,
  },
  'classifier guidance': {
    guide: (d) => classifierGuidance(d, { scale: 2, logProbability }),
    neutral: (d) => classifierGuidance(d, { scale: () => 0, logProbability }),
    keepsAgreement: false,
  },
  'guidance through the estimate': {
    guide: (d) => estimateGuidance(d, { scale: 2, logProbability }),
    neutral: (d) => estimateGuidance(d, { scale: () => 0, logProbability }),
    keepsAgreement: false,
  },
  'guidance at the estimate': {
    guide: (d) => directEstimateGuidance(d, { scale: 2, logProbability }),
    neutral: (d) => directEstimateGuidance(d, { scale: () => 0, logProbability }),
    keepsAgreement: false,
  },
  'dynamic thresholding': { guide: (d) => dynamicThresholding(d), keepsAgreement: false },
  'Perp-Neg': {
    guide: (d) => perpNeg(d, { scale: 3, ...free, negatives: [{ cond: -1, weight: 0.7 }] }),
    neutral: (d) => perpNeg(d, { scale: 1, ...free, negatives: [] }),
  },
  'distilled guidance': {
    guide: (d) =>
      distilledGuidance<number, { cond: number; guidance: tf.Tensor1D }>(
        (x, at, { cond, guidance }) => d(x, at, cond + guidance.dataSync()[0]!),
        { scale: 0.5, withGuidance: (cond, guidance) => ({ cond, guidance }) },
      ),
    keepsAgreement: false,
  },
  'several together': {
    guide: (d) =>
      together(d, [(e) => classifierFree(e, { scale: 3, ...free }), (e) => awayFrom(e, (x, at) => d(x, at, 0.2), 2)]),
    neutral: (d) => together(d, [(e) => classifierFree(e, { scale: 1, ...free })]),
  },
};

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  for (const [name, claims] of Object.entries(guides)) {
    test(`${name} conforms`, () => assertConforms(certifyGuidance({ name, cond: 1, ...claims })));
  }

  test('CLIP guidance conforms', () => {
    const target = tf.tensor2d([0, 1, 0], [1, 3]);
    const embedImage = (images: tf.Tensor4D) => tf.mean(images, [1, 2]) as tf.Tensor2D;
    assertConforms(
      certifyGuidance({
        name: 'CLIP guidance',
        cond: 1,
        guide: (d) => clipGuidance(d, { scale: 2, embedImage, target }),
        neutral: (d) => clipGuidance(d, { scale: () => 0, embedImage, target }),
        keepsAgreement: false,
      }),
    );
    target.dispose();
  });

  test('CFG++ conforms at the rows of its table', () => {
    const claims: GuidanceClaims<number> = {
      name: 'CFG++',
      cond: 1,
      // Its scale at the probe's levels, which are rows of three tables.
      guide: (d) => (x, at, cond) => {
        const here = { alpha: Float64Array.of(at.alpha, 1), sigma: Float64Array.of(at.sigma, 0) };
        return plusPlus(d, { lambda: 0.6, table: here, ...free })(x, at, cond);
      },
    };
    assertConforms(certifyGuidance(claims));
  });

  test('guidance with momentum conforms, and holds one tensor', () => {
    const before = tf.memory().numTensors;
    const momentum = adaptiveProjected({ scale: 3, momentum: -0.5 });
    const mix = projectedMix({ scale: 3, momentum: -0.5, plainScale: 2, projectBelow: 1.5 });
    for (const [name, guidance] of Object.entries({ momentum, mix })) {
      // Each certified denoiser starts without memory.
      const guide = (d: Denoiser<number>) => {
        guidance.reset();
        return guidance.guide(d, free);
      };
      assertConforms(certifyGuidance({ name, cond: 1, guide, pure: false, holds: 1 }));
      guidance.reset();
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  test('composition and regions conform', () => {
    const where = mask();
    const parts: readonly Part<number>[] = [
      { cond: 1, scale: 2 },
      { cond: -1, scale: 0.5, mask: where },
    ];
    assertConforms(certifyGuidance({ name: 'composition', cond: parts, guide: (d) => composed(d, 0) }));
    const rest = tf.tidy(() => tf.sub<tf.Tensor4D>(1, where));
    const regions: readonly Region<number>[] = [
      { cond: 1, mask: where },
      { cond: 0.4, mask: rest },
    ];
    const one = tf.ones<tf.Rank.R4>([1, 1, 1, 1]);
    assertConforms(certifyGuidance({ name: 'regions', cond: regions, guide: (d) => regional(d) }));
    assertConforms(
      certifyGuidance({
        name: 'one region is the model',
        cond: [{ cond: 1, mask: one }],
        guide: (d) => regional(d),
        neutral: (d) => regional(d),
        plain: 1,
      }),
    );
    tf.dispose([where, rest, one]);
  });
});
