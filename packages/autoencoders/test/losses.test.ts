import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { describe as costOf, TorchGenerator } from '@mezzotint/core';
import { Conv2d } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  adversarialLoss,
  generatorLoss,
  hingeDiscriminatorLoss,
  klLoss,
  klToNormal,
  l1Loss,
  l2Loss,
  PatchDiscriminator,
  sampleGaussian,
  scaleLatents,
  unscaleLatents,
  vanillaDiscriminatorLoss,
} from '../src/index.js';
import { relativeError } from './support/golden.js';
import { noise, randomise } from './support/tiny.js';

const number = (t: tf.Tensor) => t.dataSync()[0]!;

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('L1 and L2 are means over all elements', () => {
    tf.tidy(() => {
      const [y, x] = [tf.tensor4d([1, 2, 3, -4], [1, 2, 2, 1]), tf.zeros<tf.Rank.R4>([1, 2, 2, 1])];
      expect(number(l1Loss(y, x))).toBeCloseTo(2.5, 6);
      expect(number(l2Loss(y, x))).toBeCloseTo(7.5, 6);
    });
  });

  test('KL to N(0, I): zero for N(0, I), the closed form else, a sum over each image', () => {
    tf.tidy(() => {
      const mean = tf.tensor4d([0, 0, 1, -2], [2, 1, 1, 2]);
      const logvar = tf.tensor4d([0, 0, Math.log(4), -1], [2, 1, 1, 2]);
      const expected = (1 + 4 - 1 - Math.log(4) + (4 + Math.exp(-1) - 1 + 1)) / 2;
      const kl = klToNormal({ mean, logvar }).dataSync();
      expect(kl[0]).toBeCloseTo(0, 6);
      expect(kl[1]).toBeCloseTo(expected, 5);
      expect(number(klLoss({ mean, logvar }, 8))).toBeCloseTo(expected / 2 / 8, 5);
    });
  });

  test('a sample is mean + deviation times the stream’s normals in the order of [N, C, h, w]', () => {
    tf.tidy(() => {
      const [mean, logvar] = [noise([2, 2, 3, 4], 1), noise([2, 2, 3, 4], 2)];
      const before = tf.memory().numTensors;
      const sample = sampleGaussian({ mean, logvar }, new TorchGenerator(9));
      expect(tf.memory().numTensors).toBe(before + 1);
      const eps = new TorchGenerator(9).randn(48);
      const [m, l, s] = [mean, logvar, sample].map((t) => t.arraySync() as number[][][][]);
      for (const [n, y, x, c] of [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [1, 1, 0, 2],
      ] as const) {
        const at = ((n * 4 + c) * 2 + y) * 3 + x;
        expect(s![n]![y]![x]![c]).toBeCloseTo(m![n]![y]![x]![c]! + Math.exp(l![n]![y]![x]![c]! / 2) * eps[at]!, 5);
      }
    });
  });

  test('latents are shifted, then scaled, and back', () => {
    tf.tidy(() => {
      const z = noise([1, 2, 2, 3]);
      const scale = { scalingFactor: 0.3611, shiftFactor: 0.1159 };
      const scaled = scaleLatents(z, scale);
      expect(scaled.dataSync()[0]).toBeCloseTo((z.dataSync()[0]! - 0.1159) * 0.3611, 6);
      expect(relativeError(unscaleLatents(scaled, scale).dataSync(), z.dataSync())).toBeLessThan(1e-6);
    });
  });

  test('hinge losses stop at a margin of 1', () => {
    tf.tidy(() => {
      const logits = (...values: number[]) => tf.tensor4d(values, [1, 1, values.length, 1]);
      // relu(1 - 2) = 0 and relu(1 - 0.5) = 0.5; relu(1 - 3) = 0 and relu(1 + 0) = 1.
      expect(number(hingeDiscriminatorLoss(logits(2, 0.5), logits(-3, 0)))).toBeCloseTo((0.25 + 0.5) / 2, 6);
      expect(number(generatorLoss(logits(2, -4)))).toBeCloseTo(1, 6);
    });
  });

  test('vanilla loss is the cross-entropy of real as 1 and decoded as 0', () => {
    tf.tidy(() => {
      const logits = (...values: number[]) => tf.tensor4d(values, [1, 1, values.length, 1]);
      const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
      const expected =
        -(Math.log(sigmoid(2)) + Math.log(sigmoid(-0.5)) + Math.log(1 - sigmoid(-3)) + Math.log(0.5)) / 4;
      expect(number(vanillaDiscriminatorLoss(logits(2, -0.5), logits(-3, 0)))).toBeCloseTo(expected, 6);
      // No overflow where the discriminator is very wrong.
      expect(number(vanillaDiscriminatorLoss(logits(-200), logits(200)))).toBeCloseTo(200, 4);
    });
  });

  test('the discriminator of VQGAN: 30x30 logits for 256x256, its names, and each batch normalised by itself', async () => {
    const large = new PatchDiscriminator({ inChannels: 3, channels: 64, layers: 3 });
    expect([...large.params().keys()].filter((name) => name.endsWith('weight'))).toEqual(
      [0, 2, 3, 5, 6, 8, 9, 11].map((place) => `main.${place}.weight`),
    );
    const { modules } = costOf(large, [{ shape: [1, 256, 256, 3] }]);
    expect(modules[0]!.output).toEqual([1, 30, 30, 1]);
    // Counted by hand: 4 x 4 x (3 64 + 64 128 + 128 256 + 256 512 + 512) + biases 64 + 1 + norms 2 (128 + 256 + 512).
    expect([...large.params().values()].reduce((sum, { size }) => sum + size, 0)).toBe(2_765_633);
    const model = new PatchDiscriminator({ inChannels: 1, channels: 2, layers: 1 });
    await randomise(model);
    const x = noise([2, 8, 8, 1]);
    const before = tf.memory().numTensors;
    const y = model.forward(x);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(y.shape).toEqual([2, 2, 2, 1]);
    // By TensorFlow.js's own parts.
    const plain = tf.tidy(() => {
      const param = (name: string) => model.params().get(name)!.value;
      const conv = (h: tf.Tensor4D, place: number, stride: number) =>
        tf.conv2d(
          tf.pad(h, [
            [0, 0],
            [1, 1],
            [1, 1],
            [0, 0],
          ]),
          param(`main.${place}.weight`) as tf.Tensor4D,
          stride,
          'valid',
        );
      const first = tf.leakyRelu(tf.add<tf.Tensor4D>(conv(x, 0, 2), param('main.0.bias')), 0.2);
      const second = conv(first, 2, 1);
      const { mean, variance } = tf.moments(second, [0, 1, 2], true);
      const unit = tf.div(tf.sub(second, mean), tf.sqrt(tf.add(variance, 1e-5)));
      const normed = tf.add<tf.Tensor4D>(tf.mul(unit, param('main.3.weight')), param('main.3.bias'));
      return tf.add(conv(tf.leakyRelu(normed, 0.2), 5, 1), param('main.5.bias'));
    });
    expect(relativeError(y.dataSync(), plain.dataSync())).toBeLessThan(1e-5);
    tf.dispose([x, y, plain]);
    model.dispose();
  });

  test('adversarialLoss: value and gradients of rec + weight lambda adv with lambda as a number', async () => {
    const last = new Conv2d(3, 2, 3);
    await randomise(last, 4);
    const [features, target] = [noise([2, 4, 4, 3], 5), noise([2, 4, 4, 2], 6)];
    const reconstruction = (y: tf.Tensor4D) => l1Loss(y, target);
    const adversarial = (y: tf.Tensor4D) => tf.mean<tf.Scalar>(tf.square(tf.add(y, 0.1)));
    const kernel = last.weight.variable;
    const norm = (loss: (y: tf.Tensor4D) => tf.Scalar) =>
      tf.tidy(() => {
        const { grads } = tf.variableGrads(() => loss(last.forward(features)), [kernel]);
        return number(tf.norm(grads[kernel.name]!));
      });
    const lambda = norm(reconstruction) / (norm(adversarial) + 1e-4);
    const variables = [...last.params().values()].map((param) => param.variable);
    const run = (loss: (features: tf.Tensor4D) => tf.Scalar) =>
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(() => loss(features), variables);
        const dFeatures = tf.grad((h) => loss(h as tf.Tensor4D))(features);
        const gradients = [...variables.map((v) => grads[v.name]!), dFeatures].map((g) => [...g.dataSync()]);
        return { value: number(value), gradients };
      });
    const expected = run((h) =>
      tf.tidy(() => {
        const y = last.forward(h);
        return tf.add<tf.Scalar>(reconstruction(y), tf.mul(adversarial(y), 0.5 * lambda));
      }),
    );
    const before = tf.memory().numTensors;
    const got = run((h) => adversarialLoss(h, last, { reconstruction, adversarial }, { weight: 0.5 }));
    expect(tf.memory().numTensors).toBe(before);
    // The same sums in float32, in another order.
    expect(got.value).toBeCloseTo(expected.value, 5);
    got.gradients.forEach((gradient, i) => {
      expect(relativeError(gradient, expected.gradients[i]!)).toBeLessThan(1e-4);
    });
    // Before the discriminator starts only the reconstruction counts, and the other term is not even run.
    const quiet = adversarialLoss(
      features,
      last,
      {
        reconstruction,
        adversarial: () => {
          throw new Error('was run');
        },
      },
      { weight: 0 },
    );
    expect(number(quiet)).toBeCloseTo(number(reconstruction(last.forward(features))), 6);
    // Not adaptive, lambda is 1; whoever observes sees the parts that make the whole.
    const seen: number[] = [];
    const fixed = adversarialLoss(
      features,
      last,
      { reconstruction, adversarial },
      {
        weight: 0.5,
        adaptive: false,
        observe: (parts) => seen.push(number(parts.reconstruction), number(parts.adversarial!), number(parts.lambda!)),
      },
    );
    expect(seen[2]).toBe(1);
    expect(number(fixed)).toBeCloseTo(seen[0]! + 0.5 * seen[1]!, 5);
    tf.dispose([features, target, quiet, fixed]);
    last.dispose();
  });
});
