import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type Module, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  Autoencoder,
  AutoencoderKL,
  AutoencoderTiny,
  klLoss,
  l1Loss,
  l2Loss,
  PatchDiscriminator,
  sampleGaussian,
  VQModel,
  vqLoss,
} from '../src/index.js';
import { noise, randomise, tinyCoder, tinyKL, tinyTiny, tinyVQ } from './support/tiny.js';

/** Gradient of a loss with respect to every parameter. */
async function gradientsOf(model: Module, loss: () => tf.Scalar) {
  const params = model.params();
  const before = tf.memory().numTensors;
  const { value, grads } = tf.variableGrads(
    () => tf.tidy(loss),
    [...params.values()].map((param) => param.variable),
  );
  value.dispose();
  const byName = Object.fromEntries(
    [...params].map(([name, param]) => [name, grads[param.variable.name]?.dataSync() as Float32Array | undefined]),
  );
  tf.dispose(grads);
  expect(tf.memory().numTensors).toBe(before);
  return byName;
}

/** The derivative of the loss along `direction`, by a central difference. */
function slope(model: Module, loss: () => tf.Scalar, direction: Readonly<Record<string, Float32Array>>, step: number) {
  const at = (sign: number) =>
    tf.tidy(() => {
      const params = [...model.params()];
      const run = (rest: typeof params): number => {
        const [first, ...others] = rest;
        if (first === undefined) return loss().dataSync()[0]!;
        const [name, param] = first;
        const moved = tf.add(param.value, tf.mul(tf.tensor(direction[name]!, [...param.shape]), sign * step));
        return param.substitute(moved, () => run(others));
      };
      return run(params);
    });
  return (at(1) - at(-1)) / (2 * step);
}

function unit(v: Float32Array): Float32Array {
  const length = Math.hypot(...v) || 1;
  return v.map((value) => value / length);
}

/** `silent`: parameters whose gradient is zero by nature. `step` and `tolerance` of the difference quotient. */
async function check(
  model: Module,
  loss: () => tf.Scalar,
  { silent = [] as string[], step = 3e-4, tolerance = 0.01 } = {},
) {
  const byName = await gradientsOf(model, loss);
  for (const [name, gradient] of Object.entries(byName)) {
    expect(gradient, `${name} gets no gradient`).toBeDefined();
    expect(gradient!.every(Number.isFinite), name).toBe(true);
    const most = Math.max(...gradient!.map(Math.abs));
    // A bias behind which a norm takes the mean away is zero but for rounding.
    if (silent.includes(name)) expect(most, name).toBeLessThan(1e-5);
    else expect(most, `${name} gets no gradient`).toBeGreaterThan(1e-7);
  }
  // Along each parameter's gradient, made a unit vector, and half as much of another random unit vector: the difference
  // quotient has an error of order step^2 and rounding of 1e-7 / step, both below the tolerance times this slope; a
  // wrong or missing term of any layer is far above.
  const rng = new TorchGenerator(7);
  const direction = Object.fromEntries(
    Object.entries(byName).map(([name, g]) => {
      const random = unit(rng.randn(g!.length));
      return [name, unit(g!).map((value, i) => (silent.includes(name) ? 0 : value + 0.5 * random[i]!))];
    }),
  );
  const expected = Object.entries(byName).reduce(
    (sum, [name, g]) => sum + g!.reduce((inner, value, i) => inner + value * direction[name]![i]!, 0),
    0,
  );
  expect(Math.abs(slope(model, loss, direction, step) / expected - 1)).toBeLessThan(tolerance);
}

describe.each(await testEngines())('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  test('AutoencoderKL: L2 and KL through a sample', async () => {
    const model = new AutoencoderKL(tinyKL);
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    await check(
      model,
      () => {
        const gaussian = model.encode(x);
        const y = model.decode(sampleGaussian(gaussian, new TorchGenerator(5)));
        return tf.add(l2Loss(y, x), tf.mul(klLoss(gaussian, 4 * 4 * 2), 0.1));
      },
      // Softmax does not see what is the same for all keys.
      { silent: ['encoder.mid_block.attentions.0.to_k.bias', 'decoder.mid_block.attentions.0.to_k.bias'] },
    );
  });

  test('Autoencoder: L2', async () => {
    const model = new Autoencoder({ ...tinyCoder, midAttention: false });
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    await check(model, () => l2Loss(model.forward(x), x));
  });

  test('AutoencoderTiny: L2', async () => {
    const model = new AutoencoderTiny(tinyTiny);
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    // Where a step crosses a bend of ReLU, the quotient sees both sides: a smaller step, and 2 %.
    await check(model, () => l2Loss(model.forward(x), x), { step: 1e-4, tolerance: 0.02 });
  });

  test('VQModel: L1 straight through, codebook and commitment', async () => {
    const model = new VQModel(tinyVQ);
    await randomise(model);
    const x = noise([2, 4, 4, 2]);
    const loss = () => {
      const z = model.encode(x);
      const codes = model.quantize.lookup(model.quantize.nearest(z));
      return tf.add<tf.Scalar>(l1Loss(model.decode(z), x), vqLoss(z, codes));
    };
    // No difference quotient: the straight-through gradient is not the slope of the loss, by design.
    const byName = await gradientsOf(model, loss);
    const silent = Object.entries(byName)
      .filter(([, g]) => g === undefined || Math.max(...g.map(Math.abs)) < 1e-7)
      .map(([name]) => name);
    expect(silent.filter((name) => !name.endsWith('to_k.bias'))).toEqual([]);
  });

  test('PatchDiscriminator', async () => {
    const model = new PatchDiscriminator({ inChannels: 2, channels: 4, layers: 2 });
    await randomise(model);
    const x = noise([2, 16, 16, 2]);
    await check(model, () => tf.mean<tf.Scalar>(tf.square(model.forward(x))), { step: 1e-4, tolerance: 0.02 });
  });
});
