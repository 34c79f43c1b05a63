import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { readFileSync } from 'node:fs';
import { Module, Param, TorchGenerator, table } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  byLogSnr,
  contrastiveLoss,
  cosineGamma,
  cosineLevels,
  cosineMapFlow,
  cosineRate,
  denoisingLoss,
  flowLevels,
  halfLifeDecay,
  lamb,
  logGamma,
  logitNormalFlow,
  logSnrLevels,
  logSnrWeightings,
  modeFlow,
  multiScale,
  offsetCosineGamma,
  type Prediction,
  pseudoHuber,
  sigmoidGamma,
  uniformFlow,
  warmUp,
} from '../src/index.js';

const read = (name: string) => JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8'));
/** google-research/pix2seq and TensorFlow Addons, float32. */
const rin = read('rin');
/** Schedules as run from lucidrains/denoising-diffusion-pytorch in float64; weightings from the published formulas. */
const simple = read('simple-diffusion');

describe('schedules', () => {
  test("RIN's gammas and learning rate are pix2seq's", () => {
    const curves = { 'cosine@0,1,1': cosineGamma(), 'cosine@0.2,1,1': cosineGamma({ start: 0.2 }) };
    const all = {
      ...curves,
      'sigmoid@-3,3,0.9': sigmoidGamma(),
      'sigmoid@0,3,0.3': sigmoidGamma({ start: 0, tau: 0.3 }),
      cosine: offsetCosineGamma,
      'log@1,100,false': logGamma(),
    };
    for (const [name, gamma] of Object.entries(all)) {
      rin.schedules.t.forEach((t: number, i: number) => {
        // float32 of numbers up to 1, after one subtraction.
        expect(Math.abs(gamma(t) - rin.schedules.gamma[name][i])).toBeLessThan(3e-7);
      });
    }
    // At t = 1 the plain cosine is cut nowhere: float32 of the angle leaves 3e-3 of 6e-9. The logarithm is cut at 0.
    const { cosine, 'log@1,100,false': log } = rin.schedules.gamma;
    expect(Math.abs(offsetCosineGamma(1) / cosine.at(-1) - 1)).toBeLessThan(5e-3);
    expect(log.at(-1)).toBe(0);
    expect(logGamma()(1)).toBe(0);
    const { base, warmup_steps, total_steps, steps, values } = rin.learning_rate;
    const rate = warmUp(
      warmup_steps,
      cosineRate({ peak: base, steps: total_steps, from: warmup_steps, fraction: 0.7 }),
    );
    steps.forEach((step: number, i: number) => {
      expect(Math.abs(rate(step) - values[i])).toBeLessThan(1e-9);
    });
  });

  test("simple diffusion's shifted cosine, and its density in log SNR", () => {
    const { t, image_d, cosine, cosine_derivative, shifted, interpolated } = simple.schedule;
    for (const [noise, expected] of Object.entries<number[]>({ [image_d]: cosine, ...shifted })) {
      const level = cosineLevels({ imageSize: image_d, noiseSize: Number(noise) });
      t.forEach((u: number, i: number) => {
        expect(level(u).logSnr).toBeCloseTo(expected[i]!, 9);
        expect(Math.log(level(u).alpha / level(u).sigma) * 2).toBeCloseTo(expected[i]!, 6);
      });
    }
    t.slice(1, -1).forEach((u: number, i: number) => {
      // By a central difference of 1e-5: its error is h^2 / 6 times a third derivative that grows towards the ends.
      expect(cosineLevels()(u).density * -cosine_derivative[i + 1]).toBeCloseTo(1, 5);
    });
    const curve = (u: number) => interpolated[t.indexOf(u)] ?? interpolated[0];
    expect(logSnrLevels(curve, { time: 'logSnr' })(0.5)).toMatchObject({
      time: interpolated[4],
      logSnr: interpolated[4],
    });
  });

  test('weightings are those of VDM++', () => {
    const w = logSnrWeightings;
    const all = {
      elbo: w.elbo(),
      'epsilon-mse cosine': w.epsMeanSquare(),
      'v-mse cosine, rectified flow': w.vMeanSquare(),
      edm: w.edm(),
      'edm-monotonic': w.edmMonotonic(),
      'sigmoid k=2': w.sigmoid(),
      'sigmoid k=-1': w.sigmoid(-1),
      'min-snr gamma=5': w.minSnr(),
    };
    const { logsnr } = simple.weighting;
    for (const [name, weighting] of Object.entries(all)) {
      logsnr.forEach((l: number, i: number) => {
        expect(weighting(l) / simple.weighting[name][i]).toBeCloseTo(1, 9);
      });
    }
    // With the cosine schedule w = sech(l / 2) is the plain mean square of eps up to a constant (VDM++, table 1).
    const weight = byLogSnr(w.epsMeanSquare());
    const plain = [0.1, 0.4, 0.5, 0.9].map((u) => weight(cosineLevels()(u)));
    for (const value of plain) expect(value / plain[0]!).toBeCloseTo(1, 5);
  });

  test('flow densities are those of Stable Diffusion 3', () => {
    // Medians, and the density at the median by 1 / (d sigma / du), from eq. 19 to 21 written by hand.
    const slope = (f: (u: number) => { sigma: number }, u: number) =>
      Math.abs(f(u + 1e-4).sigma - f(u - 1e-4).sigma) / 2e-4;
    const density = (f: (u: number) => { sigma: number }) => [f(0.5).sigma, 1 / slope(f, 0.5)];
    const logit = density(logitNormalFlow());
    expect(logit[0]).toBeCloseTo(0.5, 6);
    expect(logit[1]).toBeCloseTo(4 / Math.sqrt(2 * Math.PI), 3); // pi(1/2) = 1 / (1/2 1/2) N(0)
    const mode = density(modeFlow());
    expect(mode[0]).toBeCloseTo(0.5, 9);
    expect(mode[1]).toBeCloseTo(1 / Math.abs(-1 - 1.29 * (1 - Math.PI / 2)), 5);
    const map = density(cosineMapFlow());
    expect(map[0]).toBeCloseTo(0.5, 9);
    expect(map[1]).toBeCloseTo(2 / (Math.PI - 2 * Math.PI * 0.5 + 2 * Math.PI * 0.25), 4); // eq. 21: 2 / (pi - 2 pi t + 2 pi t^2)
    expect(uniformFlow({ shift: 3 })(0.5)).toEqual({ alpha: 0.25, sigma: 0.75, time: 750 });
    // By name: the same levels.
    for (const [named, level] of [
      [flowLevels({ kind: 'mode', scale: 0.8 }, { shift: 3 }), modeFlow({ scale: 0.8, shift: 3 })],
      [flowLevels({ kind: 'logit-normal', mean: 0.5 }), logitNormalFlow({ mean: 0.5 })],
      [flowLevels({ kind: 'cosine' }), cosineMapFlow()],
      [flowLevels({ kind: 'uniform' }, { timeScale: 1 }), uniformFlow({ timeScale: 1 })],
    ] as const) {
      for (const u of [0.1, 0.5, 0.93]) expect(named(u)).toEqual(level(u));
    }
    expect(() => modeFlow({ scale: 3 })).toThrow(/scale must be in \[-1, 1.75/);
  });

  test("EDM's half-life halves, and grows with the run", () => {
    const decay = halfLifeDecay({ halfLife: 100, rampUp: 0.05 });
    expect(decay(1e6) ** 100).toBeCloseTo(0.5, 12);
    expect(decay(200) ** 10).toBeCloseTo(0.5, 12);
    expect(decay(0)).toBe(0);
  });
});

class Layers extends Module {
  readonly p: readonly Param[] = rin.lamb.initial.map((values: number[] | number[][]) => {
    const shape = Array.isArray(values[0]) ? [values.length, values[0].length] : [values.length];
    return new Param(shape, { init: table(Float32Array.from(values.flat())) });
  });
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test.each(['host', 'device'] as const)("LAMB on the %s is TensorFlow Addons'", async (place) => {
    const { learning_rate, weight_decay_rate, beta_1, beta_2, epsilon, exclude_from_weight_decay, names, steps } =
      rin.lamb;
    const model = new Layers().init(0);
    const decays = (path: string) => {
      const name = names[Number(path.split('.')[1])] as string;
      return !exclude_from_weight_decay.some((part: string) => name.includes(part));
    };
    const optimizer = lamb(model, { betas: [beta_1, beta_2], epsilon, weightDecay: weight_decay_rate, decays, place });
    for (const { gradients, after } of steps) {
      const given = new Map<string, tf.Tensor>(
        gradients.map((g: number[], i: number) => [`p.${i}`, tf.tensor(g, [...model.p[i]!.shape])]),
      );
      await optimizer.step(given, { learningRate: learning_rate });
      model.p.forEach((param, i) => {
        param.value.dataSync().forEach((x, k) => {
          expect(Math.abs(x - after[i].flat()[k])).toBeLessThan(2e-6); // a few float32 roundings of numbers up to 2
        });
      });
      tf.dispose([...given.values()]);
    }
    optimizer.dispose();
    model.dispose();
  });

  test.each(['host', 'device'] as const)(
    'LAMB on the %s scales a first update without decay by ||parameter||, but for those that `decays` leaves out',
    async (place) => {
      const model = new Layers().init(0);
      const before = model.p.map((param) => Float32Array.from(param.value.dataSync()));
      const optimizer = lamb(model, { weightDecay: 0, decays: (path) => path !== 'p.1', epsilon: 0, place });
      const given = new Map<string, tf.Tensor>(model.p.map((param, i) => [`p.${i}`, tf.ones([...param.shape])]));
      await optimizer.step(given, { learningRate: 0.01 });
      // Adam's first step on gradients of 1 is 1 in each number, its norm the root of their count.
      model.p.forEach((param, i) => {
        const norm = Math.sqrt(before[i]!.reduce((sum, x) => sum + x * x, 0) / before[i]!.length);
        const ratio = i === 1 || norm === 0 ? 1 : norm;
        param.value.dataSync().forEach((x, k) => {
          expect(Math.abs(x - (before[i]![k]! - 0.01 * ratio))).toBeLessThan(1e-6); // roundings of numbers up to 2
        });
      });
      tf.dispose([...given.values()]);
      optimizer.dispose();
      model.dispose();
    },
  );

  test("the multi-scale loss is simple diffusion's", () => {
    const { shape, eps, eps_hat, scales, total } = simple.multiscale;
    const nchw = (values: number[]) => tf.transpose(tf.tensor4d(values, shape), [0, 2, 3, 1]) as tf.Tensor4D;
    const losses = multiScale(scales)(tf.sub(nchw(eps), nchw(eps_hat))).dataSync();
    // The golden sums over the three channels, where ours is the mean.
    expect((3 * (losses[0]! + losses[1]!)) / 2 / total).toBeCloseTo(1, 5);
    expect(() => multiScale([5])(nchw(eps))).toThrow(/5 does not divide 16 x 16/);
    const c = pseudoHuber(2)(tf.fill([1, 2, 2, 1], 1.5) as tf.Tensor4D).dataSync()[0];
    expect(c).toBeCloseTo(0.5, 6); // sqrt(1.5^2 + 2^2) - 2
  });

  test('an error counts the same whatever the network predicts, when it is measured in one quantity', () => {
    // A network whose estimate of x0 is half of x_t, answered as each prediction.
    const level = { alpha: 0.7, sigma: 0.3, time: 5 }; // a flow's, where alpha^2 + sigma^2 is not 1
    const half = { eps: (0.5 + 0) as number, x0: 0.5, v: 0, flow: 0 };
    half.eps = (1 - 0.5 * level.alpha) / level.sigma;
    half.v = (level.alpha - 0.5 * (level.alpha ** 2 + level.sigma ** 2)) / level.sigma;
    half.flow = (1 - 0.5 * (level.alpha + level.sigma)) / level.sigma;
    const x0 = tf.tensor4d(new TorchGenerator(3).randn(32), [2, 4, 4, 1]);
    const loss = (prediction: Prediction, errorOf: 'eps' | 'x0' | 'v') =>
      denoisingLoss(prediction, (x) => tf.mul(x, half[prediction]), { x0, cond: undefined }, new TorchGenerator(1), {
        levels: (n) => Array(n).fill(level),
        errorOf,
      }).dataSync();
    for (const errorOf of ['eps', 'x0', 'v'] as const) {
      const expected = loss('x0', errorOf);
      for (const prediction of ['eps', 'v', 'flow'] as const) {
        loss(prediction, errorOf).forEach((value, n) => {
          expect(value / expected[n]!).toBeCloseTo(1, 4);
        });
      }
    }
  });

  test('the contrastive loss is ln N for features that tell nothing, and falls to 0 for those that tell all', () => {
    const same = tf.ones([4, 3]) as tf.Tensor2D;
    for (const value of contrastiveLoss(same, same, 10).dataSync()) expect(value).toBeCloseTo(Math.log(4), 5);
    const eye = tf.eye(4) as tf.Tensor2D;
    for (const value of contrastiveLoss(eye, tf.mul(eye, 3), 20).dataSync()) expect(value).toBeLessThan(1e-6);
    expect(() => contrastiveLoss(eye, same, 1)).toThrow(/as many images as texts/);
  });
});
